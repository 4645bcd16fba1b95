"""Weights and their cards: what is saved comes back, and whatever does not belong together is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from course_lib import settings
from course_lib.models.weights import WEIGHTS, load, read_card, save

FACTS: dict[str, Any] = {"command": "course train tiny --seed 3 --output FOLDER", "classes": ["cat", "dog"], "seed": 3}


def tiny(units: int = 2) -> keras.Sequential:
    """A network whose batch normalisation and dropout have a state beside the weights that are trained."""
    chain = [layers.Dense(3, name="hidden"), layers.BatchNormalization(name="norm"), layers.Dropout(0.5, name="drop")]
    return keras.Sequential([keras.Input((4,)), *chain, layers.Dense(units, name="head")], name="tiny")


def own_metric(labels: Any, scores: Any) -> Any:
    """A metric that Keras does not know by name; saving must not ask for it."""
    return keras.metrics.sparse_categorical_accuracy(labels, scores)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[keras.Sequential, Path]:
    """A network after three steps of Adam, and the folder that it was saved in."""
    keras.utils.set_random_seed(0)
    network = tiny()
    network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=[own_metric])
    x = np.random.default_rng(0).normal(size=(12, 4))
    network.fit(x, np.arange(12) % 2, batch_size=4, verbose=0)
    save(network, "tiny", tmp_path / "new", FACTS)
    return network, tmp_path / "new"


def test_what_was_saved_comes_back(saved: tuple[keras.Sequential, Path]) -> None:
    network, folder = saved
    keras.utils.set_random_seed(1)
    again = load("tiny", lambda card: tiny(len(card["classes"])), folder)
    for theirs, ours in zip(network.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(theirs, ours)
    assert (again.get_layer("norm").moving_mean.numpy() != 0).all(), "statistics are weights, too"


def test_card_describes_its_file(saved: tuple[keras.Sequential, Path]) -> None:
    _, folder = saved
    content = (folder / "tiny.weights.h5").read_bytes()
    card = read_card("tiny", folder, classes=["cat", "dog"], seed=3)
    assert {key: card[key] for key in FACTS} == FACTS
    assert (card["bytes"], card["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert card["versions"] == settings.versions()


def test_state_of_the_optimizer_is_not_saved(saved: tuple[keras.Sequential, Path], tmp_path: Path) -> None:
    """Adam keeps two numbers a weight; the network is left as it was, to be trained on."""
    network, folder = saved
    assert len(network.optimizer.variables) > 2
    fresh = tiny()
    save(fresh, "fresh", tmp_path, {})
    assert (folder / "tiny.weights.h5").stat().st_size == (tmp_path / "fresh.weights.h5").stat().st_size


def test_saving_twice_gives_the_same_file(saved: tuple[keras.Sequential, Path], tmp_path: Path) -> None:
    network, folder = saved
    assert save(network, "tiny", tmp_path / "other", FACTS) == read_card("tiny", folder)


def damaged(path: Path, change: str) -> None:
    """Do to a file what may happen to one."""
    content = path.read_bytes()
    if change == "missing":
        path.unlink()
    elif change == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif change == "one bit":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:
        path.write_text(change, encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("tiny.weights.h5", "missing", r"not the weights of its card \(sha256 nothing\)"),
        ("tiny.weights.h5", "truncated", "not the weights of its card"),
        ("tiny.weights.h5", "one bit", "not the weights of its card"),
        ("tiny.json", "missing", "the card of the weights is missing"),
        ("tiny.json", "truncated", "this is no card of weights"),
        ("tiny.json", "[]", "this is no card of weights"),
        ("tiny.json", '{"seed": 3}', "this is no card of weights"),
    ],
)
def test_damage_is_named_with_what_to_do(
    saved: tuple[keras.Sequential, Path], name: str, change: str, message: str
) -> None:
    _, folder = saved
    damaged(folder / name, change)
    with pytest.raises(ValueError, match=message) as error:
        load("tiny", lambda card: tiny(), folder)
    assert str(folder / name) in str(error.value) and "git checkout data" in str(error.value)


@pytest.mark.parametrize("wanted", [{"classes": ["dog", "cat"]}, {"classes": ["car", "dog"]}, {"data": "full"}])
def test_weights_for_another_use_are_refused(saved: tuple[keras.Sequential, Path], wanted: dict[str, Any]) -> None:
    _, folder = saved
    with pytest.raises(ValueError, match=f"{next(iter(wanted))} is .* on the card") as error:
        load("tiny", lambda card: tiny(), folder, **wanted)
    assert str(next(iter(wanted.values()))) in str(error.value) and FACTS["command"] in str(error.value)


def test_weights_that_do_not_fit_the_network_are_refused(saved: tuple[keras.Sequential, Path]) -> None:
    _, folder = saved
    with pytest.raises(ValueError, match=r"tiny\.weights\.h5: these weights do not fit the network tiny"):
        load("tiny", lambda card: tiny(units=3), folder)


CARDS = sorted(path.stem for path in WEIGHTS.glob("*.json"))


def test_every_file_that_ships_has_a_card() -> None:
    assert CARDS and [path.name.removesuffix(".weights.h5") for path in sorted(WEIGHTS.glob("*.h5"))] == CARDS


@pytest.mark.parametrize("name", CARDS)
def test_cards_that_ship_are_complete(name: str) -> None:
    card = read_card(name)
    assert (
        card["command"].startswith(f"course train {card['network']} ") and f"--seed {card['seed']} " in card["command"]
    )
    for key in ("data", "source", "examples", "validation accuracy", "test accuracy", "bytes", "versions"):
        assert key in card
    assert "/" not in card["source"], "no local path"


def test_weights_that_ship_are_small() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) < 20e6
    assert all(path.stat().st_size <= 1.6e6 for path in WEIGHTS.iterdir())


def test_command_of_the_card_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command on a card, its folder filled in, asks for what the card says."""
    from course_lib import cli

    seen: dict[str, Any] = {}
    for function in ("_train_lenet5", "_train_source"):
        monkeypatch.setattr(cli, function, lambda words: seen.update(vars(words)) or 0)
    for name in CARDS:
        card = read_card(name)
        assert cli.main(card["command"].replace("FOLDER", "out").split()[1:]) == 0
        asked = {key: value for key, value in seen.items() if key in card and key != "command"}
        assert asked == {key: card[key] for key in asked} and {"network", "data", "seed", "epochs"} <= set(asked)
