"""The diagnosis of errors: clear cases of each kind, random cases against plain loops, and the effect of fixing."""

import json
import time

import numpy as np
import pytest

from evaluation import metrics
from evaluation.diagnosis import CORRECT, DURATIONS, KINDS, MAX_K, TIOU, diagnose, kinds
from evaluation.localization import Detections, ground_truth
from evaluation.metrics import detection_ap, match, ranking
from evaluation.segments import tiou

CLASSES = ("walk", "turn", "wave")
WALK, TURN, WAVE = range(3)
TRUTH = Detections.of([0, 0, 1], [WALK, TURN, WALK], [[0, 100], [200, 300], [0, 60]], 1.0)


def found(*rows: tuple[int, int, int, int, float]) -> Detections:
    """Detections from (clip, class, start, end, score)."""
    clip, label, start, end, scores = np.array(rows, dtype=float).reshape(-1, 5).T
    return Detections.of(clip, label, np.stack([start, end], axis=1), scores)


def random_case(seed: int) -> tuple[Detections, Detections]:
    """Small clips, where classes overlap and few scores differ."""
    rng = np.random.default_rng(seed)
    truth = ground_truth([np.repeat(rng.random((6, 3)) < 0.4, 4, axis=0) for _ in range(3)])
    count = int(rng.integers(0, 40))
    starts = rng.integers(0, 24, count)
    segments = np.stack([starts, starts + rng.integers(0, 12, count)], axis=1)
    scores = rng.choice([0.2, 0.5, 0.8], count)
    return Detections.of(rng.integers(0, 3, count), rng.integers(0, 4, count), segments, scores), truth


def looped(detections: Detections, truth: Detections) -> list[tuple[int, str]]:
    """(class, kind) of each detection in order of rank, in plain loops."""
    taken, answer = set(), []
    rank = lambda i: (-detections.scores[i], detections.clip[i], *detections.segments[i])  # noqa: E731
    for i in sorted(range(len(detections)), key=rank):
        label = detections.label[i]
        if label not in truth.label:
            continue
        here = [j for j in range(len(truth)) if truth.clip[j] == detections.clip[i]]
        overlap = {j: tiou(detections.segments[[i]], truth.segments[[j]])[0, 0] for j in here}
        own = [j for j in here if truth.label[j] == label]
        free = [j for j in own if j not in taken and overlap[j] >= 0.5]
        nearest_own = max((overlap[j] for j in own), default=0)
        nearest_other = max((overlap[j] for j in here if j not in own), default=0)
        if free:
            taken.add(max(free, key=lambda j: (overlap[j], -j)))
            answer.append((label, "correct"))
        elif nearest_own >= 0.5:
            answer.append((label, "double detection"))
        elif nearest_own >= 0.1:
            answer.append((label, "localization error"))
        elif nearest_other >= 0.5:
            answer.append((label, "wrong class"))
        elif nearest_other >= 0.1:
            answer.append((label, "wrong class and boundary"))
        else:
            answer.append((label, "background"))
    return answer


@pytest.mark.parametrize(
    ("detection", "kind"),
    [
        ((0, WALK, 5, 100, 0.5), "correct"),
        ((0, WALK, 0, 40, 0.5), "localization error"),
        ((0, WALK, 210, 300, 0.5), "wrong class"),
        ((0, WALK, 280, 320, 0.5), "wrong class and boundary"),
        ((0, WALK, 120, 180, 0.5), "background"),
        ((0, WALK, 95, 195, 0.5), "background"),  # 5 of 195 frames are of its class
        ((1, TURN, 200, 300, 0.5), "background"),  # a turn is there in another clip
    ],
)
def test_clear_cases_of_each_kind_of_error(detection: tuple, kind: str) -> None:
    diagnosis = diagnose(found(detection), TRUTH, CLASSES)
    assert dict(zip(KINDS, diagnosis.profile[0], strict=True)) == {name: int(name == kind) for name in KINDS}


def test_a_second_detection_of_the_same_segment_is_a_double_detection() -> None:
    twice = found((0, WALK, 0, 100, 0.4), (0, WALK, 10, 100, 0.9))
    diagnosis = diagnose(twice, TRUTH, CLASSES)
    assert diagnosis.profile[0].tolist() == [1, 1, 0, 0, 0, 0]
    assert diagnosis.fixed["double detection"] == diagnosis.mean_ap  # the lowest of its class costs nothing


def test_a_detection_near_its_own_class_is_not_of_the_wrong_class_even_if_another_fits_better() -> None:
    truth = Detections.of(0, [WALK, TURN], [[0, 100], [30, 60]], 1.0)  # a turn while walking
    assert diagnose(found((0, WALK, 30, 60, 0.5)), truth, CLASSES).profile[0, KINDS.index("localization error")] == 1


@pytest.mark.parametrize("pairs", [metrics.MAX_PAIRS, 8])  # 8: the detections of a clip come in several parts
@pytest.mark.parametrize("seed", range(25))
def test_the_profile_equals_plain_loops(monkeypatch: pytest.MonkeyPatch, seed: int, pairs: int) -> None:
    monkeypatch.setattr(metrics, "MAX_PAIRS", pairs)
    detections, truth = random_case(seed)
    expected = looped(detections, truth)
    profile = diagnose(detections, truth, CLASSES).profile
    assert len(profile) == MAX_K
    for k, counts in enumerate(profile, 1):
        best = []
        for label in range(3):
            best += [kind for of, kind in expected if of == label][: k * int((truth.label == label).sum())]
        assert counts.tolist() == [best.count(kind) for kind in KINDS]


@pytest.mark.parametrize("seed", range(25))
def test_fixing_never_lowers_map_and_fixing_all_gives_100_if_nothing_is_missed(seed: int) -> None:
    detections, truth = random_case(seed)
    every = Detections.concatenate([detections, Detections.of(truth.clip, truth.label, truth.segments, 0.1)])
    for given in (detections, every):
        diagnosis = diagnose(given, truth, CLASSES)
        assert diagnosis.mean_ap == pytest.approx(np.nanmean(detection_ap(given, truth, 3, [TIOU])))
        assert min(diagnosis.fixed.values()) >= diagnosis.mean_ap - 1e-9
        assert diagnosis.fixed["all"] >= max(diagnosis.fixed.values()) - 1e-9
    assert diagnosis.fixed["all"] == pytest.approx(100)
    assert sum(group.missed for group in diagnosis.missed["class"]) == 0


@pytest.mark.parametrize(
    ("wrong", "kind", "before", "after"),
    [
        ((0, TURN, 280, 330, 0.9), "localization error", 50, 100),
        ((0, WALK, 200, 300, 0.9), "wrong class", 100 / 3, 100),  # two hits of walk after one false: 2/3, mean with 0
        ((0, WALK, 280, 320, 0.9), "wrong class and boundary", 100 / 3, 100),
        ((1, WALK, 400, 420, 0.9), "background", 100 / 3, 50),
    ],
)
def test_map_after_fixing_one_wrong_detection(wrong: tuple, kind: str, before: float, after: float) -> None:
    right = [(0, WALK, 0, 100, 0.8), (1, WALK, 0, 60, 0.7)]
    diagnosis = diagnose(found(wrong, *right), TRUTH, CLASSES)
    assert diagnosis.mean_ap == pytest.approx(before)
    expected = {name: after if name in (kind, "all") else before for name in (*KINDS[1:], "all")}
    assert diagnosis.fixed == pytest.approx(expected)


def test_fixing_makes_no_double_detection() -> None:
    again = found((0, WALK, 0, 100, 0.9), (0, WALK, 0, 30, 0.8), (1, WALK, 0, 60, 0.7))
    assert diagnose(again, TRUTH, CLASSES).fixed["localization error"] == 50  # all of walk, nothing of turn


def test_missed_truth_is_counted_by_duration_actions_and_class() -> None:
    lengths = [14, 15, 30, 60, 120, 240, 1000]  # frames at 30 a second: each in a bucket of its own but the last two
    clips = [0, 1, 1, 2, 2, 2, 2]
    truth = Detections.of(clips, WALK, [[1000 * n, 1000 * n + frames] for n, frames in enumerate(lengths)], 1.0)
    answer = truth.select([1, 2, 4])
    missed = diagnose(answer, truth, CLASSES).missed
    assert missed["duration in seconds"] == [
        ("0 to 0.5", 1, 1),
        ("0.5 to 1", 1, 0),
        ("1 to 2", 1, 0),
        ("2 to 4", 1, 1),
        ("4 to 8", 1, 0),
        ("8 and more", 2, 2),
    ]
    assert len(DURATIONS) == 6
    assert missed["actions in the clip"][:3] == [("1", 1, 1), ("2", 2, 0), ("3 to 4", 4, 3)]
    assert [group.group for group in missed["actions in the clip"]][3:] == ["5 to 8", "9 and more"]
    assert missed["class"] == [("walk", 7, 4)]


def test_detections_of_classes_that_the_truth_does_not_have_are_left_out() -> None:
    stray = found((0, WAVE, 0, 100, 0.9), (0, len(CLASSES), 0, 100, 0.9))
    diagnosis = diagnose(stray, TRUTH, CLASSES)
    assert diagnosis.profile.sum() == 0
    assert set(diagnosis.fixed.values()) == {0.0}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("truth", [TRUTH, TRUTH.select([])], ids=["truth", "no truth"])
@pytest.mark.parametrize("detections", [found(), found((0, WALK, 5, 5, 0.1))], ids=["none", "empty"])
def test_a_diagnosis_of_empty_input_becomes_json(detections: Detections, truth: Detections) -> None:
    content = json.loads(json.dumps(diagnose(detections, truth, CLASSES).to_dict(), allow_nan=False))
    assert content["mAP"] == (0 if len(truth) else None)
    assert set(content["best_detections"]["10G"]) == set(KINDS)
    assert set(content["mAP_fixed"]) == {*KINDS[1:], "all"}


def test_kinds_gives_the_true_segment_that_fixes_a_detection() -> None:
    detections = found((0, WALK, 290, 340, 0.9), (0, TURN, 190, 220, 0.8), (1, WALK, 0, 60, 0.7), (1, TURN, 0, 60, 0.6))
    ranked = detections.select(ranking(detections, 3))
    kind, target = kinds(ranked, TRUTH, match(ranked, TRUTH, [TIOU])[0])
    assert [KINDS[k] for k in kind] == ["background", "localization error", "correct", "wrong class"]
    assert kind[2] == CORRECT
    assert target.tolist() == [-1, 1, -1, 2]


def test_two_thousand_clips_of_twenty_classes_take_seconds() -> None:
    rng = np.random.default_rng(0)
    labels = [np.repeat(rng.random((15, 20)) < 0.02, 25, axis=0) for _ in range(2000)]
    truth = ground_truth(labels)
    count = 50_000
    starts = rng.integers(0, 350, count)
    segments = np.stack([starts, starts + rng.integers(3, 90, count)], axis=1)
    detections = Detections.of(rng.integers(0, 2000, count), rng.integers(0, 20, count), segments, rng.random(count))
    began = time.process_time()
    diagnosis = diagnose(detections, truth, tuple(map(str, range(20))))
    assert time.process_time() - began < 30  # some 2 s where nothing else runs
    assert diagnosis.profile[-1].sum() == count
