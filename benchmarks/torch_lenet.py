"""LeNet-5 in PyTorch, trained by a plain loop and timed: what ``loop.py`` compares the course's loop with.

Runs in an environment of its own, started by ``loop.py``; imports nothing of the course. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn


def lenet5() -> nn.Sequential:
    """Return the network of ``course_lib.models.lenet.lenet5()``: its 61,706 parameters, with Keras' initial values.

    Digits (n, 1, 28, 28) go in, scores (n, 10) come out.
    """
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120), nn.Tanh(),
        nn.Linear(120, 84), nn.Tanh(),
        nn.Linear(84, 10),
    )  # fmt: skip
    for layer in model:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return model


def train(images: torch.Tensor, labels: torch.Tensor, epochs: int, batch_size: int) -> dict[str, object]:
    """Train on images (n, 1, 28, 28), labels (n,); return the seconds of each epoch, last loss and last accuracy.

    Loss and accuracy are summed on the device and read once an epoch, so that no step waits for them.
    """
    model = lenet5().to(images.device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7)  # Keras' epsilon
    loss_function = nn.CrossEntropyLoss()
    seconds, start = [], time.perf_counter()
    for _ in range(epochs):
        total = torch.zeros((), device=images.device)
        correct = torch.zeros((), dtype=torch.int64, device=images.device)
        order = torch.randperm(len(labels), device=images.device)
        for chosen in order.split(batch_size):
            batch, truth = images[chosen], labels[chosen]
            optimizer.zero_grad()
            scores = model(batch)
            loss = loss_function(scores, truth)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(truth)
            correct += (scores.argmax(dim=1) == truth).sum()
        mean_loss, accuracy = total.item() / len(labels), correct.item() / len(labels)
        end = time.perf_counter()
        seconds.append(end - start)
        start = end
    return {"seconds": seconds, "loss": mean_loss, "accuracy": accuracy}


def main() -> None:
    """Read the data that ``loop.py`` has left, train, and print what came out."""
    parser = argparse.ArgumentParser(description="Started by benchmarks/loop.py.")
    parser.add_argument("--data", type=Path, required=True, help=".npz with images (n, 28, 28, 1) and labels (n,)")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", choices=["cpu", "cuda"], required=True)
    parser.add_argument("--seed", type=int, required=True)
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    torch.manual_seed(words.seed)
    with np.load(words.data) as data:
        pixels, classes = data["images"], data["labels"]
    start = time.perf_counter()
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(words.device)
    labels = torch.from_numpy(classes).long().to(words.device)
    before = time.perf_counter() - start
    result = train(images, labels, words.epochs, words.batch_size)
    result["seconds"][0] += before  # handing the data over is part of the first epoch, as it is in Keras
    print(json.dumps({**result, "version": torch.__version__}))


if __name__ == "__main__":
    main()
