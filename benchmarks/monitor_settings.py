"""How the teacher's temperature and the weight of the label in chapter 10 were chosen: on its validation patients.

    COURSE_DATA_DIR=... python benchmarks/monitor_settings.py

The chapter runs up to its teacher; then students are taught in every way, three starts each, all ways from the same
starts. Two lines a way: F1 of ventricular beats on the validation patients in percent, mean ± standard deviation over
the starts, and how far the way is ahead of labels alone, start by start. Takes about six minutes.
"""

from __future__ import annotations

import contextlib
import io
import os
import statistics

from course_lib.settings import REPOSITORY

os.environ["COURSE_PROFILE"] = "full"
CHAPTER = REPOSITORY / "notebooks" / "src" / "10_capstone.py"
NEXT = "# %% [markdown]\n# ## 4. The student"  # where the chapter is left
STUDENT = ((16, 32, 32), 32)
WAYS = {"labels alone": None} | {
    f"temperature {heat}, weight of the label {hard}": (heat, hard) for heat in (1, 2, 4) for hard in (0.1, 0.5)
}
STARTS = range(3)


def main() -> None:
    """Print two lines for each of the ways."""
    before, found, _ = CHAPTER.read_text(encoding="utf-8").partition(NEXT)
    if not found:
        raise SystemExit(f"{CHAPTER.name} has no line “{NEXT.splitlines()[-1]}” any more: say where to leave it.")
    chapter: dict = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(before, CHAPTER, "exec"), chapter)
        answers = chapter["teacher"].predict(chapter["inputs"]["train"], batch_size=4_096, verbose=0)
    alone: list[float] = []
    for name, way in WAYS.items():
        scores = [score(chapter, answers, way, start) for start in STARTS]
        alone = alone or scores
        ahead = [mine - theirs for mine, theirs in zip(scores, alone, strict=True)]
        print(f"{name:<42}{statistics.fmean(scores):6.1f} ± {statistics.stdev(scores):.1f}", flush=True)
        if way:
            print(f"{'  ahead of labels alone, start by start':<42}" + "".join(f"{points:+6.1f} " for points in ahead))


def score(chapter: dict, answers, way: tuple[float, float] | None, start: int) -> float:
    """Return the F1 of ventricular beats, validation patients, in percent, of a student taught in this way."""
    import keras

    if way:
        chapter["T"], chapter["HARD"] = way
    with contextlib.redirect_stdout(io.StringIO()):
        keras.utils.set_random_seed(1_000 + start)
        student = chapter["taught"](chapter["reader"](*STUDENT), 2e-3, answers if way else None)
    said = student.predict(chapter["inputs"]["validation"], batch_size=4_096, verbose=0).argmax(axis=1)
    counts = chapter["confusion_counts"](chapter["validation"].labels, said, 5)
    return 100 * chapter["f1"](counts)[chapter["V"]]


if __name__ == "__main__":
    main()
