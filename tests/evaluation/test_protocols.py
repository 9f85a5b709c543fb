"""One evaluation of clips: its figures, its table and its JSON, under both protocols."""

import json
from typing import Any

import numpy as np
import pytest

from evaluation.localization import CORRECTED, PROTOCOLS, RELEASED, Protocol, ground_truth, localize
from evaluation.metrics import classification_ap
from evaluation.protocols import ClipResult, Evaluation, evaluate, score_detections
from utils import config
from utils.errors import UserError

pytestmark = pytest.mark.filterwarnings("error")  # a class that does not occur is no surprise

EVAL = config.load().eval
CLASSES = ("walk", "wave", "kick")  # kick occurs nowhere


def dense(*stretches: tuple[str, int]) -> np.ndarray:
    """Labels (T, K) bool from class names, or "" for background, and their frames."""
    rows = [np.arange(3) == (CLASSES.index(name) if name else -1) for name, _ in stretches]
    return np.repeat(rows, [frames for _, frames in stretches], axis=0)


LABELS = [dense(("", 20), ("walk", 5), ("", 20), ("wave", 30)), dense(("wave", 5), ("", 25)), dense(("walk", 40))]


def clip(name: str, labels: np.ndarray, **changes: Any) -> ClipResult:
    """A clip with perfect probabilities."""
    frame_probs = np.concatenate([labels, ~labels.any(axis=1, keepdims=True)], axis=1).astype(np.float32)
    return ClipResult(name, frame_probs, frame_probs.max(axis=0), labels)._replace(**changes)


def results() -> list[ClipResult]:
    return [clip(f"clip{number}", labels) for number, labels in enumerate(LABELS)]


def evaluated(protocol: Protocol, clips: list[ClipResult] | None = None) -> Evaluation:
    return evaluate(clips or results(), CLASSES, EVAL, protocol)


def test_perfect_probabilities_score_100() -> None:
    evaluation = evaluated(CORRECTED)
    assert evaluation.average_map == 100
    assert evaluation.map_at.tolist() == [100] * 7
    assert evaluation.classification_map == 100
    assert evaluation.frame_accuracy == 100
    assert set(evaluation.f1_at.values()) == {100.0}


def test_the_released_evaluation_loses_short_segments_of_the_same_clips() -> None:
    released = evaluated(RELEASED)
    assert released.map_at[:6].tolist() == [100] * 6
    assert released.map_at[6] < 100  # five frames overlap by 4 of 6 at best, less than 0.7
    assert released.frame_accuracy == 100
    assert evaluated(CORRECTED).map_at[6] == 100
    one_frame = [clip("short", dense(("walk", 1), ("", 9)))]
    assert evaluated(RELEASED, one_frame).f1_at == evaluated(CORRECTED, one_frame).f1_at


def test_a_class_that_does_not_occur_is_left_out_or_counts_100_as_released() -> None:
    spoilt = [clip("a", LABELS[0]), clip("b", LABELS[2], video_probs=np.array([0, 1, 0.5, 1], np.float32))]
    corrected, released = (evaluated(protocol, spoilt) for protocol in PROTOCOLS)
    known = corrected.classification_ap[:2]
    assert np.isnan(corrected.classification_ap[2])
    assert corrected.classification_map == pytest.approx(known.mean())
    assert corrected.classification_map < 100
    assert released.classification_map == pytest.approx((known.sum() + 100) / 3)
    assert np.isnan(corrected.ap_by_class["kick"])


def test_figures_equal_those_of_localization_and_metrics() -> None:
    rng = np.random.default_rng(0)
    clips = []
    for number, labels in enumerate(LABELS):
        probs = rng.dirichlet(np.full(4, 0.3), len(labels))
        clips.append(clip(str(number), labels, frame_probs=probs, video_probs=rng.random(4)))
    evaluation = evaluated(CORRECTED, clips)
    found = localize([c.frame_probs for c in clips], [c.video_probs for c in clips], EVAL)
    np.testing.assert_equal(vars(evaluation.detections), vars(found))
    video_labels = np.stack([labels.any(axis=0) for labels in LABELS])
    expected = classification_ap(np.stack([c.video_probs[:3] for c in clips]), video_labels)
    np.testing.assert_array_equal(evaluation.classification_ap, expected)
    right = sum(
        c.labels[t, k] if k < 3 else not c.labels[t].any() for c in clips for t, k in enumerate(c.frame_probs.argmax(1))
    )
    assert evaluation.frame_accuracy == pytest.approx(100 * right / sum(map(len, LABELS)))
    assert evaluation.average_map == pytest.approx(np.nanmean(evaluation.ap))


def test_the_whole_clip_baseline_is_scored_beside_the_model() -> None:
    evaluation = evaluated(CORRECTED)
    # Walk is 5 of 75 frames in the first clip, which never counts, and all 40 of the last: precision 1/2, recall 1/2.
    assert evaluation.whole_clip_ap[:, 0].tolist() == [25] * 7
    # Wave is 30 of 75 frames in the first and 5 of 30 in the second.
    assert evaluation.whole_clip_ap[:, 1].tolist() == [100, 50, 50, 50, 0, 0, 0]
    assert evaluation.whole_clip_map_at.tolist() == [62.5, 37.5, 37.5, 37.5, 12.5, 12.5, 12.5]


def test_the_whole_clip_baseline_follows_the_conventions_of_the_protocol() -> None:
    clips = [clip("short", dense(("walk", 5)))]
    assert evaluated(CORRECTED, clips).whole_clip_ap[-1, 0] == 100
    assert evaluated(RELEASED, clips).whole_clip_ap[-2:, 0].tolist() == [100, 0]  # 4 of 6 frames


def test_the_table_has_the_model_and_the_whole_clip_baseline_under_both_protocols() -> None:
    lines = evaluated(CORRECTED).table(evaluated(RELEASED)).splitlines()
    figures = {line[:34].strip(): line[34:].split() for line in lines}
    assert figures["3 clips, detection mAP (%) at tIoU"][:2] == ["0.1", "0.2"]
    assert figures["model, corrected evaluation"] == ["100.00"] * 13
    assert figures["model, released evaluation"][0] == "100.00"
    assert figures["whole-clip baseline, corrected"] == ["62.50"] + ["37.50"] * 3 + ["12.50"] * 3 + ["30.36"]
    assert len(figures["whole-clip baseline, released"]) == 8
    assert figures["walk"] == ["100.00"] * 9
    assert figures["kick"] == ["-"] * 9


def test_columns_of_the_table_are_aligned_even_with_long_names() -> None:
    labels = [np.ones((9, 2), bool)]
    classes = ["a", "a name that is longer than the whole first column of the table"]
    evaluation = score_detections(ground_truth(labels), ["x"], labels, classes, [0.5], CORRECTED)
    rows = [line for line in evaluation.table(evaluation).splitlines() if "100.00" in line]
    assert len({line.index("100.00") for line in rows}) == 1
    assert len(rows) == 6


def test_nan_becomes_null_in_json() -> None:
    evaluation = evaluated(CORRECTED)
    content = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    assert content["mAP"] == 100
    assert content["clips"] == 3
    assert list(content["mAP_at_tIoU"]) == ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7"]
    assert content["AP"] == {"walk": 100, "wave": 100, "kick": None}
    assert content["AP_at_tIoU"]["kick"] == dict.fromkeys(content["mAP_at_tIoU"])
    assert content["classification_AP"]["kick"] is None
    assert content["whole_clip_baseline"]["mAP_at_tIoU"]["0.2"] == 37.5


def test_figures_that_detections_alone_do_not_define_are_nan() -> None:
    truth = ground_truth(LABELS)
    evaluation = score_detections(truth, ["a", "b", "c"], LABELS, CLASSES, EVAL.tious, CORRECTED)
    assert evaluation.average_map == 100
    assert np.isnan(evaluation.classification_map)
    assert np.isnan(evaluation.frame_accuracy)
    assert evaluation.to_dict()["frame_accuracy"] is None
    assert evaluation.table(evaluation).splitlines()[1].split()[-2:] == ["-", "-"]


@pytest.mark.parametrize("part", ["frame_probs", "video_probs"])
def test_probabilities_that_are_not_finite_give_one_message_that_names_the_clip(part: str) -> None:
    bad = clip("1234", LABELS[1])
    spoilt = getattr(bad, part).copy()
    spoilt[..., 0] = np.nan
    with pytest.raises(UserError, match=r"clip 1234: the network gave probabilities that are not finite.*train again"):
        evaluate([*results(), bad._replace(**{part: spoilt})], CLASSES, EVAL, RELEASED)
