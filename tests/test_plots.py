"""Figures: alt text and caption in the output, and what was drawn is what was given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from IPython.display import Image, Markdown

from course_lib import plots


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """No figure is left open after a test."""
    yield
    plt.close("all")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, Any]]]:
    """What was displayed, with the metadata."""
    found: list[tuple[Any, dict[str, Any]]] = []

    def display(what: object, **more: Any) -> None:
        found.append((what, more.get("metadata", {})))

    monkeypatch.setattr(plots, "display", display)
    return found


def test_show_stores_alt_text_and_caption_and_closes(shown: list[tuple[Any, dict[str, Any]]]) -> None:
    figure = plots.curves([1, 2], {"loss": [2, 1]}, xlabel="epoch", ylabel="loss")
    assert plt.fignum_exists(figure.number)
    plots.show(figure, caption="Loss falls.", alt="A line from 2 down to 1.")
    (picture, metadata), (caption, _) = shown
    assert isinstance(picture, Image) and metadata == {"image/png": {"alt": "A line from 2 down to 1."}}
    assert picture.data.startswith(b"\x89PNG") and len(picture.data) > 2_000
    assert isinstance(caption, Markdown) and caption.data == "*Loss falls.*"
    assert not plt.fignum_exists(figure.number)


def test_alt_text_reaches_the_notebook_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real display() runs; only what a kernel would send is caught."""
    from IPython.core import display_functions
    from IPython.core.formatters import DisplayFormatter
    from IPython.core.interactiveshell import InteractiveShell

    sent: list[dict[str, Any]] = []

    class Shell:
        display_formatter = DisplayFormatter()

    def publish(data: dict[str, Any], metadata: dict[str, Any] | None = None, **_: Any) -> None:
        sent.append({"data": data, "metadata": metadata})

    monkeypatch.setattr(InteractiveShell, "initialized", lambda: True)
    monkeypatch.setattr(InteractiveShell, "instance", Shell)
    monkeypatch.setattr(display_functions, "publish_display_data", publish)
    plots.show(plots.curves([1, 2], {"a": [2, 1]}, xlabel="x", ylabel="y"), caption="c", alt="in words")
    assert "image/png" in sent[0]["data"] and sent[0]["metadata"]["image/png"]["alt"] == "in words"
    assert sent[1]["data"]["text/markdown"] == "*c*"


@pytest.mark.parametrize(("caption", "alt"), [("", "x"), ("x", ""), ("  ", "x"), ("x", "\n")])
def test_show_refuses_a_figure_without_words(caption: str, alt: str, shown: list[Any]) -> None:
    with pytest.raises(ValueError, match="needs a caption and an alt text"):
        plots.show(plt.figure(), caption=caption, alt=alt)
    assert not shown


@pytest.mark.parametrize("shape", [(5, 4, 3), (5, 4, 3, 1), (2, 1, 6), (2, 6, 1, 1)])
def test_grid_draws_each_image_under_its_title(shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).uniform(size=shape)
    titles = [f"image {index}" for index in range(shape[0])]
    figure = plots.image_grid(images, titles, columns=2)
    assert len(figure.axes) == 2 * -(-shape[0] // 2)
    drawn = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in drawn] == titles
    for axes, image in zip(drawn, images, strict=True):
        assert (axes.images[0].get_array() == image.reshape(shape[1:3])).all()
        assert axes.images[0].get_clim() == (0, images.max())
    assert not any(axes.axison for axes in figure.axes)


def test_grid_of_signed_values_is_centred_at_nought() -> None:
    figure = plots.image_grid(np.array([[[-3.0, 1]], [[0, 2]]]).repeat(2, axis=1), ["a", "b"], signed=True)
    assert {axes.images[0].get_clim() for axes in figure.axes if axes.images} == {(-3.0, 3.0)}


def test_grid_of_bytes_and_of_blank_images() -> None:
    figure = plots.image_grid(np.array([[[0, 255], [7, 0]]], "uint8"), ["a"])
    assert figure.axes[0].images[0].get_clim() == (0, 255)
    blank = plots.image_grid(np.zeros((1, 3, 3), "uint8"), ["a"]).axes[0].images[0]
    assert blank.cmap(blank.norm(0))[:3] == (1, 1, 1), "nought is paper, also where there is no ink"


def test_grid_of_colour_images_keeps_their_colours() -> None:
    image = np.array([[[[1.0, 0, 0], [0, 0.5, 1.5]]]])
    drawn = plots.image_grid(image, ["a"]).axes[0].images[0].get_array()
    assert np.asarray(drawn).tolist() == [[[1.0, 0, 0], [0, 0.5, 1.0]]], "what lies beyond 0 and 1 is cut"


@pytest.mark.parametrize("titles", [[], ["a"], ["a", "b", "c"]])
def test_grid_needs_as_many_titles_as_images(titles: list[str]) -> None:
    with pytest.raises(ValueError, match=f"2 images need as many titles, not {len(titles)}"):
        plots.image_grid(np.zeros((2, 3, 3)), titles)


def test_confusion_matrix_counts() -> None:
    labels, predicted = [0, 0, 0, 1, 1, 2, 2, 2, 2], [0, 0, 1, 1, 2, 2, 2, 0, 0]
    figure = plots.confusion_matrix(labels, predicted, ["cat", "dog", "owl"])
    axes = figure.axes[0]
    written = {tuple(map(int, text.get_position())): int(text.get_text()) for text in axes.texts}
    for row in range(3):
        for column in range(3):
            pairs = zip(labels, predicted, strict=True)
            assert written[column, row] == sum(pair == (row, column) for pair in pairs)
    # The colour shows mistakes alone.
    assert axes.images[0].get_array().tolist() == [[0, 1, 0], [0, 0, 1], [2, 0, 0]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog", "owl"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["cat", "dog", "owl"]


def test_confusion_matrix_without_mistakes_can_be_read() -> None:
    axes = plots.confusion_matrix([0, 1], [0, 1], ["0", "1"]).axes[0]
    assert {text.get_color() for text in axes.texts} == {"black"}


def test_curves_have_labels_and_differ_in_colour_and_style() -> None:
    series = {"training": [3, 2, 1], "validation": [3, 2.5, 2], "test": [1, 1, 1]}
    axes = plots.curves([1, 2, 3], series, xlabel="epoch", ylabel="error (%)").axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "error (%)")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(series)
    for line, y in zip(axes.lines, series.values(), strict=True):
        assert line.get_xdata().tolist() == [1, 2, 3] and line.get_ydata().tolist() == y
        assert line.get_marker() == "o"
    assert len({line.get_color() for line in axes.lines}) == len({line.get_linestyle() for line in axes.lines}) == 3
    bare = plots.curves([1, 2], {"a": [1, 2]}, xlabel="x", ylabel="y", markers=False).axes[0]
    assert bare.lines[0].get_marker() == "None"


def test_many_curves_are_still_told_apart() -> None:
    axes = plots.curves([1], {str(n): [n] for n in range(12)}, xlabel="x", ylabel="y").axes[0]
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.lines}) == 12


def test_colours_are_those_of_okabe_and_ito() -> None:
    # Wong, Points of view: color blindness, Nature Methods 8 (2011), figure 2, but for yellow, too pale on white.
    rgb = {(0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233), (0, 0, 0)}
    assert {tuple(int(colour[place : place + 2], 16) for place in (1, 3, 5)) for colour in plots.COLOURS} == rgb


def test_kernels_are_drawn_each_at_its_own_scale_with_grey_for_zero() -> None:
    kernels = np.zeros((2, 2, 3, 2))
    kernels[0, 0, :, 0] = 4.0
    kernels[0, 0, :, 1] = -0.1
    figure = plots.kernel_grid(kernels)
    drawn = [np.asarray(axes.images[0].get_array()) for axes in figure.axes[:2]]
    assert [axes.get_title() for axes in figure.axes[:2]] == ["0", "1"]
    np.testing.assert_allclose([picture[0, 0] for picture in drawn], [[1] * 3, [0] * 3])
    np.testing.assert_allclose([picture[1, 1] for picture in drawn], 0.5)


def test_ecg_is_drawn_at_the_size_of_paper() -> None:
    """Cardiology's paper: 25 mm a second and 10 mm a millivolt, small squares of 1 mm."""
    strips = [np.sin(np.arange(720) / 30), np.zeros(720)]
    figure = plots.ecg_paper(strips, ["one", "two"], rate=360, marks=[[(0.5, "V")], []])
    figure.canvas.draw()
    axes = figure.axes[0]
    (left, bottom), (right, top) = axes.transData.transform([(0, 0), (1, 1)]) / figure.dpi * 25.4
    assert right - left == pytest.approx(25, rel=0.15) and top - bottom == pytest.approx((right - left) / 2.5, rel=0.01)
    for axis, small in ((axes.xaxis, 0.04), (axes.yaxis, 0.1)):
        lines = np.unique(np.round([*axis.get_majorticklocs(), *axis.get_minorticklocs()], 6))
        assert np.diff(lines) == pytest.approx(small)
    assert [text.get_text() for text in axes.texts] == ["V"] and axes.get_ylabel() == "mV"


def test_ecg_weights_colour_the_trace() -> None:
    weights = np.linspace(0, 1, 50)
    figure = plots.ecg_paper([np.ones(50)], ["one"], rate=100, weights=[weights])
    (lines,) = figure.axes[0].collections
    np.testing.assert_array_equal(lines.get_array(), weights[1:])
    assert lines.get_clim() == (0, 1)


def test_ecg_needs_a_title_for_each_strip() -> None:
    with pytest.raises(ValueError, match="2 strips need as many titles, not 1"):
        plots.ecg_paper([np.ones(9), np.ones(9)], ["one"], rate=100)
