"""A number against a band, in the notebook and in CI: :func:`expect`. Introduced in chapter 00."""

from __future__ import annotations

import math

from course_lib import records, settings

Band = tuple[float, float]


class CheckFailed(AssertionError):
    """A number that the text relies on lies outside its band."""


def expect(
    name: str, value: float, *, exactly: float | None = None, full: Band | None = None, quick: Band | None = None
) -> None:
    """Hold ``value`` against what the text says, print one line, and raise :class:`CheckFailed` if they disagree.

    Give ``exactly`` for a number that cannot vary (parameters, shapes), else a band (lowest, highest) for each
    profile, set from at least three seeds. Raises ValueError where neither or both are given, or a band is empty.
    """
    current = settings.current()
    low, high = _band(name, exactly, full, quick, current.profile)
    number = float(value)
    band = f"{_text(low)} to {_text(high)} in the {current.profile} profile"
    wanted = f"exactly {_text(low)}" if exactly is not None else band
    passed = math.isfinite(number) and low <= number <= high
    records.append("check", name, number, passed=passed)
    line = f"{name}: {_text(number)} (expected {wanted})"
    if not passed:
        line = f"{name}: {number!r} (expected {wanted})" if math.isfinite(number) and not number.is_integer() else line
        raise CheckFailed(
            f"{line}. The text and this run disagree. If you changed the cell, that is your answer; if you did not, "
            "run `course doctor`, and please report the versions it prints."
        )
    print(f"✓ {line}")


def _band(name: str, exactly: float | None, full: Band | None, quick: Band | None, profile: str) -> Band:
    if (exactly is None) == (full is None and quick is None):
        raise ValueError(
            f"expect({name!r}): give either exactly=… or the bands full=(low, high) and quick=(low, high)."
        )
    if exactly is not None:
        return float(exactly), float(exactly)
    for each in (full, quick):
        if each is not None and not each[0] <= each[1]:
            raise ValueError(f"expect({name!r}): the band {each} is empty; the lower end comes first.")
    band = full if profile == "full" else quick
    if band is None:
        raise ValueError(f"expect({name!r}): there is no band for the {profile} profile; give {profile}=(low, high).")
    return band


def _text(number: float) -> str:
    if float(number).is_integer():
        return f"{number:,.0f}"
    return f"{number:.4g}"
