"""Foolbox's attacks on the LeNet-5 that ships, rebuilt in PyTorch: what ``attacks.py`` compares the course's with.

Runs in an environment of its own, started by ``attacks.py``; imports nothing of the course. Prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import foolbox
import numpy as np
import torch
from foolbox.attacks import L2ProjectedGradientDescentAttack, LinfProjectedGradientDescentAttack
from numpy.typing import NDArray
from torch import nn

ATTACKS = {"linf": LinfProjectedGradientDescentAttack, "l2": L2ProjectedGradientDescentAttack}


def lenet5(weights: dict[str, NDArray]) -> nn.Sequential:
    """Return the network of ``load_lenet5()``: ReLU, max pooling. Digits (n, 1, 28, 28) go in, scores (n, 10) out."""
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(),
        nn.Linear(120, 84), nn.ReLU(),
        nn.Linear(84, 10),
    )  # fmt: skip
    # Keras keeps channels last: a map's values are neighbours in PyTorch's flat vector, a place's in Keras'.
    dense = weights["C5/kernel"].reshape(5, 5, 16, 120).transpose(2, 0, 1, 3).reshape(400, 120)
    kernels = {**weights, "C5/kernel": dense}
    learned = [layer for layer in model if isinstance(layer, (nn.Conv2d, nn.Linear))]
    for name, layer in zip(("C1", "C3", "C5", "F6", "output"), learned, strict=True):
        kernel = kernels[f"{name}/kernel"]
        kernel = kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
        layer.weight.data = torch.from_numpy(kernel.copy())
        layer.bias.data = torch.from_numpy(kernels[f"{name}/bias"])
    return model.eval()


def main() -> None:
    """Read what ``attacks.py`` has left, attack, leave the images channels last."""
    given, returned, cases = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    torch.manual_seed(0)
    with np.load(given) as data:
        arrays = dict(data)
    network = lenet5(arrays)
    images = torch.from_numpy(arrays["images"]).permute(0, 3, 1, 2).contiguous()
    labels = torch.from_numpy(arrays["labels"]).long()
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    found = {"scores": network(images).detach().numpy()}
    for name, (norm, radius, steps, random_start) in cases.items():
        relative = 1 if steps == 1 else 2.5 / steps
        attack = ATTACKS[norm](rel_stepsize=relative, steps=steps, random_start=random_start)
        attacked, _, _ = attack(model, images, labels, epsilons=radius)
        found[name] = attacked.permute(0, 2, 3, 1).numpy()
    np.savez(returned, **found)
    print(json.dumps({"foolbox": foolbox.__version__, "torch": torch.__version__}))


if __name__ == "__main__":
    main()
