"""The time line shows the right classes, bars and curves, and can be drawn for any clip."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from evaluation.localization import Detections
from reporting.style import as_image
from reporting.time_lines import MAX_BARS, MAX_ROWS, time_line

CLASSES = ("walk", "wave", "kick")
THRESHOLDS = [0.03, 0.05]
NONE = Detections.concatenate([])


def dense(frames: int, *stretches: tuple[int, int, int], classes: int = 3) -> np.ndarray:
    """Labels (T, K) bool from (class, start, end)."""
    labels = np.zeros((frames, classes), bool)
    for label, start, end in stretches:
        labels[start:end, label] = True
    return labels


def picture(
    labels: np.ndarray, detections: Detections = NONE, classes: tuple[str, ...] = CLASSES, name: str = "4321"
) -> Figure:
    frame_probs = np.random.default_rng(0).dirichlet(np.ones(labels.shape[1] + 1), len(labels))
    return time_line(name, labels, detections, frame_probs, classes, THRESHOLDS)


def shown(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_yticklabels()]


def bars(figure: Figure) -> list[tuple[float, float]]:
    """Start and width of every bar in seconds: of true segments (one collection per class), and of detections."""
    axes = figure.axes[0]
    edges = [path.vertices[:, 0] for spans in axes.collections for path in spans.get_paths()]
    truth = [(float(x.min()), float(x.max() - x.min())) for x in edges]
    return truth + [(patch.get_x(), patch.get_width()) for patch in axes.patches]


ORDINARY = dense(90, (2, 30, 60), (0, 50, 90))
FOUND = Detections.of(0, [2, 1, 1], [[33, 60], [0, 15], [60, 66]], [0.8, 0.5, -0.1])


def test_bars_lie_at_the_seconds_of_true_segments_and_detections() -> None:
    figure = picture(ORDINARY, FOUND)
    expected = [(1.0, 1.0), (1.1, 0.9), (50 / 30, 40 / 30), (0.0, 0.5), (2.0, 0.2)]
    assert sorted(bars(figure)) == [pytest.approx(bar) for bar in sorted(expected)]
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim() == (0, 3)


def test_unknown_true_segments_are_neither_shown_nor_named() -> None:
    frame_probs = np.random.default_rng(0).dirichlet(np.ones(4), 90)
    frame_probs[:30] = np.nan  # no person yet
    figure = time_line("4321", None, FOUND, frame_probs, CLASSES, THRESHOLDS)
    assert sorted(bars(figure)) == [pytest.approx(bar) for bar in [(0.0, 0.5), (1.1, 0.9), (2.0, 0.2)]]
    explained = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert explained == ["detected", "background", "thresholds"]
    assert shown(figure) == ["kick", "wave"]
    assert figure.axes[1].get_xlim() == (0, 3)
    assert as_image(figure).any()


def test_classes_that_occur_come_first_then_those_with_the_best_scores() -> None:
    assert shown(picture(ORDINARY, FOUND)) == ["kick", "walk", "wave"]
    assert shown(picture(dense(90, (1, 0, 9)), FOUND)) == ["wave", "kick"]


def test_bars_show_their_scores_if_there_is_room() -> None:
    figure = picture(ORDINARY, FOUND)
    seen = {text.get_text(): text.get_visible() for text in figure.axes[0].texts}
    assert seen == {"0.80": True, "0.50": True, "-0.10": True}
    narrow = Detections.of(0, 0, [[0, 3]], 0.7)
    assert not picture(ORDINARY, narrow).axes[0].texts[0].get_visible()


def test_better_detections_are_less_transparent() -> None:
    figure = picture(dense(90), Detections.of(0, 0, [[0, 20], [30, 50], [60, 80]], [0.2, 0.9, -0.5]))
    strength = {patch.get_x(): patch.get_facecolor()[3] for patch in figure.axes[0].patches}
    assert strength[1.0] > strength[0.0] > strength[2.0] > 0


def test_many_classes_are_cut_and_counted() -> None:
    names = tuple(f"class {k}" for k in range(20))
    labels = dense(300, (19, 0, 50), (4, 60, 90), classes=20)
    found = Detections.of(0, np.arange(20), np.tile([10, 40], (20, 1)), np.arange(20) / 20)
    figure = picture(labels, found, names)
    rest = [f"class {k}" for k in (18, 17, 16, 15, 14, 13)]
    assert shown(figure) == ["class 19", "class 4", *rest][:MAX_ROWS]
    assert figure.axes[0].get_title(loc="left") == "4321 (12 more classes not shown)"


def test_each_class_has_a_panel_with_its_curve_and_the_thresholds() -> None:
    labels = np.random.default_rng(1).random((90, 3)) < 0.5
    figure = picture(labels)
    assert shown(figure) == list(CLASSES)
    frame_probs = np.random.default_rng(0).dirichlet(np.ones(4), 90)
    for k, axes in enumerate(figure.axes[1:]):
        assert [text.get_text() for text in axes.texts] == [CLASSES[k]]
        background, *levels, curve = axes.lines
        assert background.get_ydata().tolist() == frame_probs[:, 3].tolist()
        assert [line.get_ydata()[0] for line in levels] == THRESHOLDS
        assert curve.get_ydata().tolist() == frame_probs[:, k].tolist()


def test_low_probabilities_near_the_thresholds_have_room() -> None:
    axes = picture(ORDINARY).axes[1]
    low, threshold, high = axes.transData.transform([(0, 0), (0, 0.04), (0, 1)])[:, 1]
    assert (threshold - low) / (high - low) > 0.15
    assert "square-root" in axes.get_ylabel()


def test_long_names_are_cut() -> None:
    figure = picture(ORDINARY, name="clip " * 99, classes=("walk " * 99, "wave", "kick"))
    assert max(map(len, [*shown(figure), figure.axes[0].get_title(loc="left")])) == 60
    assert all(text.endswith("…") for text in (shown(figure)[0], figure.axes[0].get_title(loc="left")))


def test_of_many_detections_the_best_are_shown() -> None:
    starts = np.arange(500)
    found = Detections.of(0, 0, np.stack([starts, starts + 1], axis=1), starts / 500)
    assert sorted(bars(picture(dense(500), found)))[0][0] == pytest.approx((500 - MAX_BARS) / 30)


def test_a_single_frame_is_a_point_that_can_be_seen() -> None:
    background, *_, curve = picture(dense(1, (0, 0, 1))).axes[1].lines
    assert (background.get_marker(), curve.get_marker()) == ("o", "o")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("labels", "detections"),
    [
        (ORDINARY, FOUND),
        (dense(90), NONE),
        (dense(90), FOUND),
        (dense(1), NONE),
        (dense(1, (0, 0, 1)), Detections.of(0, 0, [[0, 2]], 0.5)),
        (dense(2, (1, 0, 1)), Detections.of(0, 1, [[0.2, 0.7]], 1e-12)),
        (dense(90, (0, 0, 90), (1, 0, 90), (2, 0, 90)), Detections.of(0, 0, [[5, 5]], 0.0)),
    ],
    ids=["ordinary", "nothing", "false only", "one frame", "past the end", "part of a frame", "empty detection"],
)
def test_any_clip_renders(labels: np.ndarray, detections: Detections) -> None:
    image = as_image(picture(labels, detections))
    height, width, channels = image.shape
    assert (width, channels) == (1000, 3)
    assert height > 200
    assert image.dtype == np.uint8
    assert image.flags.owndata
    assert len(np.unique(image)) > 10  # not a blank page


def test_names_are_not_read_as_formulas() -> None:
    odd = "take_$1$ $\\frac$"
    figure = picture(ORDINARY, name=odd, classes=(odd, "wave", "kick"))
    assert as_image(figure).any()
    assert figure.axes[0].get_title(loc="left") == odd
    assert shown(figure) == [odd, "kick"]
