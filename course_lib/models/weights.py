"""Trained weights on disk: the file, and beside it a card that says what they are and how they were made. Chapter 07.

A card is JSON: the command, the data and where they came from, seed, classes, metrics, versions, bytes, SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from course_lib import settings

WEIGHTS = settings.REPOSITORY / "data" / "weights"

Card = dict[str, Any]


def save(model: keras.Model, name: str, folder: Path, facts: Card) -> Card:
    """Write ``folder/name.weights.h5`` and ``folder/name.json``, the card with ``facts``; return the card.

    To the facts are added the file's size in bytes, its SHA-256 and the versions. An optimizer's state is left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.weights.h5"
    plain = type(model).from_config(model.get_config())  # on one device, and not compiled
    plain.set_weights(model.get_weights())
    plain.optimizer = None
    plain.save_weights(path)
    content = path.read_bytes()
    added = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "versions": settings.versions()}
    card = {**facts, **added}
    (folder / f"{name}.json").write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return card


def read_card(name: str, folder: Path = WEIGHTS, **wanted: Any) -> Card:
    """Return the card of the weights ``name``, once the file is found to be the card's, and the card as ``wanted``.

    Each of ``wanted`` is a key of the card and the value that it must have, say ``classes=["cat", "dog"]``. Raises
    ValueError that says what to do where card or weights are missing, do not belong together, or are for another use.
    """
    path, weights = folder / f"{name}.json", folder / f"{name}.weights.h5"
    if not path.is_file():
        raise ValueError(f"{path}: the card of the weights is missing. {_restore(folder)}")
    try:
        card: Card = json.loads(path.read_text(encoding="utf-8"))
        expected = card["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: this is no card of weights ({error!r}). {_restore(folder)}") from error
    found = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else "nothing"
    if found != expected:
        raise ValueError(f"{weights}: these are not the weights of its card (sha256 {found}). {_restore(folder)}")
    for key, value in wanted.items():
        if card.get(key) != value:
            raise ValueError(
                f"{path}: {key} is {card.get(key)!r} on the card, and {value!r} is needed here. Take other weights, or "
                f"train them; the card's command was: {card.get('command', 'not recorded')}"
            )
    return card


def load(name: str, build: Callable[[Card], keras.Model], folder: Path = WEIGHTS, **wanted: Any) -> keras.Model:
    """Return the network that ``build(card)`` makes, with the weights ``name`` in it. Raises as :func:`read_card`.

    Raises ValueError, too, where the weights do not fit that network.
    """
    model = build(read_card(name, folder, **wanted))
    path = folder / f"{name}.weights.h5"
    try:
        model.load_weights(path)
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path}: these weights do not fit the network {model.name}: {error}") from error
    return model


def _restore(folder: Path) -> str:
    """Return what to do about broken weights: those that ship can be restored, others only be trained again."""
    if folder.resolve() == WEIGHTS.resolve():
        return "Restore: git checkout data"
    return "Restore both files from where they came (those that ship: git checkout data), or train again."
