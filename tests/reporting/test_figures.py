"""Figures of an evaluation and of a training: what they show, and that they can be drawn for any input."""

from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from evaluation.diagnosis import KINDS, diagnose
from evaluation.localization import Detections
from evaluation.metrics import frame_confusion
from reporting.figures import MATRIX_CLASSES, confusion_figure, diagnosis_figure, training_figure
from reporting.style import as_image

CLASSES = ("walk", "turn", "wave")
TRUTH = Detections.of([0, 0, 1], [0, 1, 0], [[0, 100], [200, 300], [0, 60]], 1.0)
FOUND = Detections.of([0, 0, 1], [0, 0, 0], [[0, 100], [210, 300], [400, 420]], [0.9, 0.8, 0.7])
NONE = TRUTH.select([])
HISTORY = [
    {"epoch": 1, "loss": {"total": 2.0, "mil": 2.0}},
    {
        "epoch": 2,
        "loss": {"total": 1.0, "mil": 0.5, "pseudo_label": 0.5},
        "corrected": {"mAP": 30.0, "AP": {"walk": 9.0}},
    },
]


def texts(figure: Figure) -> list[str]:
    figure.draw_without_rendering()
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def clip(frames: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(classes + 1, 0.3), frames), rng.random((frames, classes)) < 0.3


def test_bars_stack_the_kinds_of_the_best_detections() -> None:
    profile = diagnosis_figure(diagnose(FOUND, TRUTH, CLASSES)).axes[0]
    heights = {str(bars.get_label()): [bar.get_height() for bar in bars] for bars in profile.containers}
    assert list(heights) == list(KINDS)
    # Walk's G is 2, turn's 1: of the first three slots two are filled, then three of six, and so on.
    assert heights["correct"][:2] == pytest.approx([100 / 3, 100 / 6])
    assert heights["wrong class"][:2] == pytest.approx([100 / 3, 100 / 6])
    assert heights["background"][:2] == pytest.approx([0, 100 / 6])


def test_bars_of_fixed_errors_and_missed_segments_have_their_numbers() -> None:
    figure = diagnosis_figure(diagnose(FOUND, TRUTH, CLASSES))
    assert figure.axes[1].get_title(loc="left") == "mAP at tIoU 0.5 if each were fixed (now 25.0)"
    said = texts(figure)
    assert "75.0  (+50.0)" in said  # the wrong class fixed: all of turn, half of walk
    assert {"2 of\n3", "1 of\n1", "1 of\n2"} <= set(said)  # 2 to 4 seconds; clips with one action; clips with two


def test_confusion_counts_a_frame_once_and_its_diagonal_holds_the_right_frames() -> None:
    clips = [clip(40, 3, seed) for seed in range(3)]
    confusion = frame_confusion(*zip(*clips, strict=True))
    assert confusion.sum() == pytest.approx(120)
    right = 0
    for probs, labels in clips:
        for frame, likeliest in enumerate(probs.argmax(axis=1)):
            right += not labels[frame].any() if likeliest == 3 else labels[frame, likeliest]
    assert confusion.trace() == right


def test_a_frame_with_two_classes_is_shared_between_them() -> None:
    labels = np.array([[True, True, False], [True, True, False], [False, False, False]])
    probs = np.eye(4)[[2, 1, 0]]
    expected = np.zeros((4, 4))
    expected[0, 2] = expected[1, 2] = 0.5  # taken for wave
    expected[1, 1] = 1  # a turn, which it is
    expected[3, 0] = 1  # background taken for walk
    np.testing.assert_array_equal(frame_confusion([probs], [labels]), expected)


def test_confusion_is_in_percent_of_the_true_class() -> None:
    labels = np.repeat(np.eye(3, dtype=bool)[[0]], 4, axis=0)
    figure = confusion_figure(frame_confusion([np.eye(4)[[0, 0, 0, 2]]], [labels]), CLASSES)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts][:4] == ["75", "0", "25", "0"]
    assert [label.get_text() for label in axes.get_yticklabels()][::3] == ["walk  (4)", "background  (0)"]


def test_of_many_classes_those_with_most_frames_are_shown() -> None:
    names = tuple(f"an action with a rather long name {k}" for k in range(60))
    labels = np.zeros((3000, 60), bool)
    labels[np.arange(3000), np.arange(3000) % 40] = True
    labels[:100, 55] = True
    probs = np.random.default_rng(0).dirichlet(np.ones(61), 3000)
    axes = confusion_figure(frame_confusion([probs], [labels]), names).axes[0]
    assert axes.get_title(loc="left") == f"% of frames ({60 - MATRIX_CLASSES} more classes not shown)"
    assert len(axes.get_yticklabels()) == MATRIX_CLASSES + 1
    assert max(len(label.get_text()) for label in axes.get_xticklabels()) == 22
    assert not axes.texts


def test_curves_are_those_of_the_history_over_its_epochs() -> None:
    losses, scores = training_figure(HISTORY, 1).axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in losses.lines}
    assert drawn["total"] == [[1, 2], [2, 1]]
    assert drawn["pseudo_label"] == [[2, 0.5]]
    assert scores.lines[0].get_xydata().tolist() == [[2, 30]]
    assert [text.get_text() for text in scores.texts] == ["pseudo-labels"]
    assert not training_figure(HISTORY, 2).axes[0].texts  # the training ended before


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "figure",
    [
        lambda: diagnosis_figure(diagnose(NONE, TRUTH, CLASSES)),
        lambda: diagnosis_figure(diagnose(FOUND, NONE, CLASSES)),
        lambda: confusion_figure(frame_confusion(*zip(clip(1, 1), strict=True)), ("$\\frac$_\n",)),
        lambda: training_figure([{"epoch": 0}], 1),
        lambda: training_figure([{"epoch": 0, "loss": 3, "corrected": {"mAP": 1.0, "frame_accuracy": "none"}}], 0),
    ],
    ids=["no detection", "no truth", "one frame", "no figures", "other figures"],
)
def test_unusual_input_can_be_drawn(figure: Any) -> None:
    image = as_image(figure())
    assert image.shape[2] == 3
    assert len(np.unique(image)) > 10
