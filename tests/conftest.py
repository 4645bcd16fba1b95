"""What all tests share: no network, no progress bars, no records written, and the mirror where there is one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["COURSE_OFFLINE"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TQDM_DISABLE"] = "1"
# A test that records does so in a folder of its own.
for name in ("COURSE_RECORD", "COURSE_RUN_LOG"):
    os.environ.pop(name, None)

MIRROR = os.environ.get("COURSE_DATA_DIR", "")
NO_MIRROR = "COURSE_DATA_DIR is not set: this test reads the full data sets, and there is no folder to find them in"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip every test marked real_data where there is no mirror."""
    if not MIRROR:
        for item in items:
            if item.get_closest_marker("real_data"):
                item.add_marker(pytest.mark.skip(reason=NO_MIRROR))


@pytest.fixture
def mirror() -> Path:
    """The folder with the full data sets, as the caller set it, even where a test has changed the variable."""
    if not MIRROR:
        pytest.skip(NO_MIRROR)
    return Path(MIRROR)


@pytest.fixture
def fresh_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No settings before the test, and none of its settings after it."""
    from course_lib import settings

    monkeypatch.setattr(settings, "_current", None)
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", ""))  # setup() writes it
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].config.set_dtype_policy("float32")
