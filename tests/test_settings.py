"""Settings: what wins, what is refused, which profile is the default, and who may import whom."""

from __future__ import annotations

import ast
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from course_lib import settings, setup
from course_lib.settings import REPOSITORY, Settings, current

VARIABLES = ("COURSE_PROFILE", "COURSE_SEED", "COURSE_PRECISION", "COURSE_DATA_DIR")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_settings: None) -> None:
    """An environment that asks for nothing, and no data."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COURSE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")


def with_data(folder: Path, *names: str) -> Path:
    """Make a folder look as if it held these data sets."""
    for name in names:
        (folder / "tensorflow_datasets" / name).mkdir(parents=True)
    return folder


def test_defaults_without_data() -> None:
    found = setup(chapter=1)
    assert found == Settings(chapter=1, profile="quick", seed=0, precision="float32", backend="tensorflow")
    assert current() is found


def test_argument_gives_the_seed_and_the_environment_overrides_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert setup(chapter=1, seed=7).seed == 7
    monkeypatch.setenv("COURSE_SEED", "11")
    assert setup(chapter=1, seed=7).seed == 11
    monkeypatch.setenv("COURSE_SEED", "")
    assert setup(chapter=1, seed=7).seed == 7


def test_environment_overrides_profile_and_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    monkeypatch.setenv("COURSE_PROFILE", "full")
    monkeypatch.setenv("COURSE_PRECISION", "mixed_bfloat16")
    found = setup(chapter=1)
    assert (found.profile, found.precision) == ("full", "mixed_bfloat16")
    assert keras.config.dtype_policy().name == "mixed_bfloat16"


def test_setup_seeds_every_generator() -> None:
    import random

    import keras
    import numpy as np

    def draw(seed: int) -> tuple[float, float, float]:
        setup(chapter=1, seed=seed)
        return random.random(), float(np.random.rand()), float(keras.random.uniform(()))

    first, other = draw(3), draw(4)
    assert draw(3) == first
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_what_was_set_stays_until_setup_is_called_again(monkeypatch: pytest.MonkeyPatch) -> None:
    setup(chapter=1, seed=2)
    monkeypatch.setenv("COURSE_SEED", "5")
    monkeypatch.setenv("COURSE_PROFILE", "full")
    assert (current().seed, current().profile) == (2, "quick")


def test_before_setup_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (current().seed, current().profile, current().chapter) == (0, "quick", 0)
    monkeypatch.setenv("COURSE_SEED", "5")
    monkeypatch.setenv("COURSE_PROFILE", "full")
    assert (current().seed, current().profile) == (5, "full")


WRONG = [
    ("COURSE_PROFILE", "fast", "COURSE_PROFILE is 'fast'; it must be one of quick, full"),
    ("COURSE_PROFILE", "FULL", "COURSE_PROFILE is 'FULL'"),
    ("COURSE_SEED", "-1", "COURSE_SEED is '-1'; it must be a whole number"),
    ("COURSE_SEED", "1.5", "COURSE_SEED is '1.5'"),
    ("COURSE_SEED", "one", "COURSE_SEED is 'one'"),
    ("COURSE_SEED", "4294967296", "COURSE_SEED is '4294967296'"),  # NumPy and TensorFlow take 32 bits
    ("COURSE_PRECISION", "float16", "COURSE_PRECISION is 'float16'; it must be one of float32, mixed_bfloat16"),
    ("KERAS_BACKEND", "theano", "KERAS_BACKEND is 'theano'; it must be one of tensorflow, jax, torch"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_wrong_value_is_named_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    before = setup(chapter=1, seed=1)
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        setup(chapter=1)
    assert current() is before


def test_wrong_seed_argument_is_not_blamed_on_the_environment() -> None:
    with pytest.raises(ValueError, match="-1") as failure:
        setup(chapter=1, seed=-1)
    assert "COURSE_SEED is" not in str(failure.value)


def test_folder_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COURSE_DATA_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"COURSE_DATA_DIR is .*nowhere.*no such folder.*tensorflow_datasets"):
        setup(chapter=1)


def test_another_backend_needs_a_fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    assert keras.config.backend() == "tensorflow"
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(RuntimeError, match=r"already runs on tensorflow, not on jax\. Restart"):
        setup(chapter=1)


@pytest.mark.parametrize("variable", ["COURSE_DATA_DIR", "COURSE_CACHE_DIR"])
def test_full_is_the_default_where_all_data_of_the_chapter_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, str(with_data(tmp_path / "data", "mnist")))
    assert setup(chapter=0).profile == "full"
    assert setup(chapter=1).profile == "quick", "chapter 1 reads Fashion-MNIST too"
    assert "mnist found, fashion_mnist not found locally" in capsys.readouterr().out
    with_data(tmp_path / "data", "fashion_mnist")
    assert setup(chapter=1).profile == "full"
    monkeypatch.setenv("COURSE_PROFILE", "quick")
    assert setup(chapter=1).profile == "quick"


def test_data_sets_may_lie_in_two_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COURSE_DATA_DIR", str(with_data(tmp_path / "mirror", "mnist")))
    monkeypatch.setenv("COURSE_CACHE_DIR", str(with_data(tmp_path / "downloads", "fashion_mnist")))
    assert setup(chapter=1).profile == "full"
    assert settings.data_folders() == [tmp_path / "mirror", tmp_path / "downloads"]


def test_size_belongs_to_the_profile() -> None:
    assert Settings(1, "quick", 0, "float32", "tensorflow").size(quick=10, full=600) == 10
    assert Settings(1, "full", 0, "float32", "tensorflow").size(quick=10, full=600) == 600


def test_table_names_everything_a_number_depends_on(capsys: pytest.CaptureFixture[str]) -> None:
    setup(chapter=1, seed=42)
    table = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert list(table) == ["versions", "backend", "device", "precision", "profile", "seed", "data"]
    assert (table["seed"], table["profile"], table["backend"]) == ("42", "quick", "tensorflow")
    assert f"python {sys.version.split()[0]}" in table["versions"] and "keras 3." in table["versions"]


@pytest.mark.parametrize(("value", "expected"), [("", False), ("0", False), ("1", True), ("yes", True)])
def test_offline(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    monkeypatch.setenv("COURSE_OFFLINE", value)
    assert settings.offline() is expected


# The house: a room imports only from rooms below it (DESIGN, section 3).


def test_importing_the_library_imports_no_framework() -> None:
    code = (
        "import sys, course_lib; found = {'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules); "
        "print(sorted(found), course_lib.setup.__name__)"
    )
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout.split("\n")[0] == "[] setup", done.stderr


FLOORS = {
    "settings": 0,
    "records": 1, "datasets": 1, "models": 1, "analysis": 1,
    "training": 2, "compression": 2, "robustness": 2,
    "claims": 3, "checks": 3, "plots": 3, "cli": 3,
}  # fmt: skip
ALSO = {("analysis", "models")}  # on one floor, and allowed
MODULES = sorted((REPOSITORY / "course_lib").rglob("*.py"))
IDS = [str(path.relative_to(REPOSITORY)) for path in MODULES]


def room(path: Path) -> str:
    """Return the room in which a module lies; the package's own __init__ is none."""
    return path.relative_to(REPOSITORY / "course_lib").parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield the dotted names that a module imports anywhere, with the statement."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only"
            yield from ((f"{node.module}.{alias.name}", node) for alias in node.names)


def test_the_house_has_these_rooms_and_no_others() -> None:
    assert {room(path) for path in MODULES} == {*FLOORS, "__init__"}


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_room_imports_only_from_rooms_below(path: Path) -> None:
    here = room(path)
    if here in ("__init__", "cli"):  # the door and the command line see every room
        return
    for name, node in imported(ast.parse(path.read_text(encoding="utf-8"))):
        package, _, rest = name.partition(".")
        if package != "course_lib":
            continue
        there = rest.split(".")[0]
        assert there in FLOORS, f"line {node.lineno}: {name}"
        allowed = there == here or FLOORS[there] < FLOORS[here] or (here, there) in ALSO
        assert allowed, f"line {node.lineno}: {here} (floor {FLOORS[here]}) imports {there} (floor {FLOORS[there]})"


def top_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield the statements that run on import: all but those inside functions."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        waiting.extend(ast.iter_child_nodes(node))


@pytest.mark.parametrize("path", MODULES, ids=IDS)
def test_no_module_imports_tensorflow_when_it_is_imported(path: Path) -> None:
    for statement in top_level(ast.parse(path.read_text(encoding="utf-8"))):
        for name, _ in imported(statement):
            assert name.split(".")[0] not in ("tensorflow", "tensorflow_datasets", "jax", "torch"), name


def test_the_rules_of_the_house_can_be_broken() -> None:
    """The helpers above see imports in functions, in classes and under conditions."""
    code = "import a.b\nif x:\n    from c import d, e\nclass F:\n    import g\ndef h():\n    import tensorflow as tf\n"
    tree = ast.parse(code)
    assert sorted(name for name, _ in imported(tree)) == ["a.b", "c.d", "c.e", "g", "tensorflow"]
    assert sorted(name for node in top_level(tree) for name, _ in imported(node)) == ["a.b", "c.d", "c.e", "g"]


def test_tensorflow_warns_in_no_chapter_and_its_errors_are_seen() -> None:
    setup(chapter=0)
    logger = logging.getLogger("tensorflow")
    logger.setLevel(logging.INFO)  # as TensorFlow does where somebody sits at a prompt
    for level, seen in ((logging.WARNING, False), (logging.ERROR, True)):
        record = logger.makeRecord(logger.name, level, "file", 1, "retracing", (), None)
        assert bool(logger.filter(record)) is seen
