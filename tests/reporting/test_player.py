"""The player's data hold what they are made from: joints, curves, segments, kinds of errors, a choice of clips."""

import base64
import json
import re
import zlib
from typing import Any

import numpy as np
import pytest

from evaluation.diagnosis import KINDS, diagnose
from evaluation.localization import Detections, ground_truth
from reporting import player
from reporting.player import PlayedClip, pack, pack_fitting, player_data, varied_order
from tests.reporting.test_skeleton_view import star

CLASSES = ("walk", "wave")
LABELS = np.zeros((90, 2), bool)
LABELS[10:40, 0] = LABELS[30:60, 1] = True


def moving(frames: int = 90, speed: float = 0.0) -> np.ndarray:
    """A body whose joints tremble, and which travels by `speed` metres a frame."""
    noise = np.random.default_rng(0).normal(0, 0.02, (frames, 25, 3))
    return star() + noise + np.arange(frames)[:, None, None] * [speed, 0, 0]


def player_of(html: str) -> dict[str, Any]:
    """The data of a page's player."""
    return json.loads(re.search(r'<script type="application/json" id="player-data">(.*?)</script>', html)[1])


def unpacked(text: str) -> np.ndarray:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)


def joints_of(packed: dict[str, Any]) -> np.ndarray:
    low, high = unpacked(packed["joints"]).reshape(2, 75, packed["frames"]).astype(int)
    codes = low + 256 * high
    steps = np.where(codes % 2, -(codes + 1) // 2, codes // 2)
    places = (steps.cumsum(axis=1).cumsum(axis=1) + 32768) % 65536 - 32768
    return (places * packed["quantum"]).T.reshape(-1, 25, 3)


@pytest.mark.parametrize("speed", [0.0, 10.0], ids=["in place", "travels 900 m"])
def test_joints_are_kept_to_the_quantum(speed: float) -> None:
    joints = moving(speed=speed)
    packed = pack(PlayedClip("a", joints), CLASSES)
    assert packed["quantum"] == pytest.approx(0.001 if speed == 0 else np.abs(joints).max() / 32_000)
    np.testing.assert_allclose(joints_of(packed), joints, atol=0.51 * packed["quantum"])


def test_the_camera_sees_the_whole_body_on_the_floor_from_its_front() -> None:
    view = pack(PlayedClip("a", moving()), CLASSES)["view"]
    joints = moving()
    assert view["floor"] == pytest.approx(joints[..., 2].min(), abs=0.03)
    assert view["floor"] + view["height"] > joints[..., 2].max()
    assert view["radius"] > np.abs(joints[..., :2] - joints[:, :1, :2]).max()
    left = joints[:, 4] - joints[:, 8]
    front = np.array([np.cos(view["front"]), np.sin(view["front"])])
    assert (left[:, :2] @ front).mean() == pytest.approx(0, abs=0.01)
    assert (front[0] * left[:, 1] - front[1] * left[:, 0]).mean() > 0.1  # the left side is to the left of the front


def test_joints_that_are_not_finite_are_left_out() -> None:
    joints = moving()
    joints[5, 3] = np.nan
    packed = pack(PlayedClip("a", joints, LABELS), CLASSES)
    assert packed["joints"] is packed["view"] is None
    json.dumps(packed, allow_nan=False)


def test_curves_are_those_of_the_shown_classes_and_of_background() -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(4), 90)
    probs[:4] = np.nan
    labels = np.zeros((90, 3), bool)
    labels[:, 2] = labels[:9, 0] = True
    packed = pack(PlayedClip("a", moving(), labels, frame_probs=probs), ("a", "b", "c"))
    curves = unpacked(packed["curves"]).reshape(3, 90).cumsum(axis=1) % 256
    assert packed["shown"] == [0, 2]
    expected = np.sqrt(np.nan_to_num(probs[:, [0, 2, 3]]))
    np.testing.assert_allclose((curves / 255).T, expected, atol=0.51 / 255)


def test_classes_beyond_the_rows_of_the_time_line_are_counted() -> None:
    labels = np.eye(90, 11, dtype=bool)
    packed = pack(PlayedClip("a", moving(), labels, note="A/B"), [f"class {n}" for n in range(11)])
    assert (len(packed["shown"]), packed["note"]) == (8, "A/B · 3 more classes have no row")
    assert len(packed["truth"]) == 11


def random_clips(count: int) -> list[PlayedClip]:
    rng = np.random.default_rng(1)
    made = []
    for number in range(count):
        labels = np.repeat(rng.random((9, 2)) < 0.4, 10, axis=0)
        starts = rng.integers(0, 80, 12)
        segments = np.stack([starts, starts + rng.integers(3, 30, 12)], axis=1)
        found = Detections.of(number, rng.integers(0, 2, 12), segments, rng.random(12).round(3))
        made.append(PlayedClip(f"clip{number}", moving(), labels, (found,)))
    return made


def test_kinds_of_errors_are_those_of_the_diagnosis() -> None:
    clips = random_clips(6)
    packed = [pack(clip, CLASSES) for clip in clips]
    truth = ground_truth([clip.labels for clip in clips])
    diagnosis = diagnose(Detections.concatenate([clip.found[0] for clip in clips]), truth, CLASSES)
    kinds = np.bincount([row[4] for clip in packed for row in clip["found"][0]], minlength=len(KINDS))
    assert kinds.tolist() == diagnosis.profile[-1].tolist()  # the 10·G best are all detections here
    missed = [scores for clip in packed for *_, scores in clip["truth"] if scores is None]
    assert len(missed) == sum(group.missed for group in diagnosis.missed["class"])
    assert 0 < len(missed) < len(truth)


def test_a_true_segment_names_the_score_of_the_detection_that_takes_it_in_each_run() -> None:
    first = Detections.of(0, [0, 0], [[10, 38], [12, 40]], [0.6, 0.7])
    second = Detections.of(0, [1], [[0, 20]], [0.9])
    packed = pack(PlayedClip("a", moving(), LABELS, (first, second)), CLASSES)
    assert packed["truth"] == [[0, 10, 40, 0.7, None], [1, 30, 60, None, None]]
    assert packed["found"] == [[[0, 12, 40, 0.7, 0], [0, 10, 38, 0.6, KINDS.index("double detection")]],
                               [[1, 0, 20, 0.9, KINDS.index("wrong class and boundary")]]]  # fmt: skip


def test_unknown_true_segments_make_no_errors() -> None:
    found = Detections.of(0, [1], [[3, 9]], [0.5])
    packed = pack(PlayedClip("a", moving(), None, (found,), first=30), CLASSES)
    assert (packed["truth"], packed["found"], packed["classes"]) == ([], [[[1, 3, 9, 0.5, -1]]], "wave")
    data = player_data([packed], CLASSES, ["found"], truth=False)
    assert data["range"] == {"min": 0, "max": 0.5, "value": 0}


def test_classes_whose_times_are_not_known_are_named() -> None:
    packed = pack(PlayedClip("a", moving(), LABELS, untimed=np.array([False, True])), CLASSES)
    assert packed["untimed"] == [1]
    assert packed["classes"].endswith(f"{CLASSES[1]} (time unknown)")


def test_at_first_as_many_detections_are_shown_as_there_are_true_segments() -> None:
    packed = [pack(clip, CLASSES) for clip in random_clips(6)]
    lowest = player_data(packed, CLASSES, ["found"])["range"]["value"]
    scores = [row[3] for clip in packed for row in clip["found"][0]]
    segments = sum(len(clip["truth"]) for clip in packed)
    assert segments <= sum(score >= lowest for score in scores) <= segments + 2  # the value has two decimals


def test_the_best_and_worst_clips_come_first_and_then_the_same_random_choice() -> None:
    ap = np.random.default_rng(0).random(300)
    ap[7] = np.nan
    order = varied_order(ap)
    assert sorted(order) == list(range(300))
    by_ap = np.argsort(-ap).tolist()
    assert set(order[:19]) >= {*by_ap[:10], *by_ap[-9:]}
    assert order == varied_order(ap)


def test_clips_are_packed_while_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    clips = random_clips(5)
    monkeypatch.setattr(player, "PAGE_BYTES", 2.5 * len(json.dumps(pack(clips[0], CLASSES))))
    fitting = pack_fitting(clips, [3, 1, 0, 2], CLASSES)
    assert [clip["name"] for clip in fitting] == ["clip1", "clip3"]
    monkeypatch.setattr(player, "PAGE_BYTES", 10)
    assert [clip["name"] for clip in pack_fitting(clips, [3, 1], CLASSES)] == ["clip3"]
