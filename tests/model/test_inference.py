"""A recording as short as a clip gets the scores of evaluation. A longer one is scored in cross-faded windows."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from feeders.dataset import network_input
from model import inference
from model.change_points import piece_numbers
from model.inference import Scores, every_frame, over_pieces, score_recording, windows
from model.localizer import Localizer
from utils import config
from utils.skeleton import NUM_JOINTS
from utils.store import Split
from validate import Validation, gather_scores

CPU = torch.device("cpu")


def network(*settings: str) -> tuple[Localizer, config.Settings]:
    torch.manual_seed(0)
    chosen = config.load([], ["model.width=4", *settings])
    model = Localizer(2, chosen.model)
    for part in model.modules():  # values as after a training
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.weight, 0.5, 1.5)
            torch.nn.init.uniform_(part.running_var, 0.5, 1.5)
    return model, chosen


def score(
    model: Localizer, joints: np.ndarray, longest: int, least: float = 0.0, penalty: float = 0.0, features: bool = True
) -> Scores:
    def window(start: int, end: int) -> torch.Tensor:
        return network_input(joints[start:end], "upright")

    chosen = config.load().eval.model_copy(update={"min_video_score": least, "change_penalty": penalty})
    return score_recording(model, window, len(joints), longest, chosen, CPU, features=features)


@given(st.integers(1, 5000), st.integers(8, 1000))
def test_windows_cover_everything_and_only_neighbours_overlap(frames: int, longest: int) -> None:
    spans = windows(frames, longest)
    starts, ends = np.array(spans).T
    assert (starts[0], ends[-1]) == (0, frames)
    assert len({*(ends - starts)}) == 1
    assert 0 < ends[0] <= longest
    assert (starts[1:] < ends[:-1]).all()  # no gap, something in common
    assert (starts[2:] >= ends[:-2]).all()
    if len(spans) > 1:
        assert (np.diff(ends[:-1] - starts[1:]) ** 2 <= 1).all()  # about the same everywhere
        assert abs((ends[0] - starts[1]) - 0.25 * longest) <= 2


@pytest.mark.parametrize(("mask_padding", "penalty"), [(True, 0.0), (False, 0.0), (True, 2.0)])
def test_a_clip_has_the_scores_that_evaluation_gives_it(
    make_split: Callable[..., Split], mask_padding: bool, penalty: float
) -> None:
    lengths = [40, 9, 61, 1]
    split = make_split(train=[20], val=lengths)
    assignments = (f"data.root={split.folder.parent}", "data.split=tiny", f"model.mask_padding={mask_padding}")
    assignments += (f"eval.change_penalty={penalty}",)
    model, settings = network(*[a.replace("True", "true").replace("False", "false") for a in assignments])
    validation = Validation(split, settings, CPU)
    evaluated = gather_scores(model, validation.clips, settings, CPU)
    for index, sid in enumerate(validation.clips.clip_ids):
        whole = score(model, split.store.joints(sid), longest=61, penalty=penalty)
        frame_probs, video_probs = evaluated[index]
        np.testing.assert_allclose(whole.frame_probs, frame_probs, atol=1e-6)
        np.testing.assert_allclose(whole.video_probs, video_probs, atol=1e-6)


def test_the_frames_of_a_piece_of_steady_motion_get_its_mean() -> None:
    joints, probs = torch.randn(3, 20, NUM_JOINTS, 1), torch.rand(20, 3)
    joints[:, 10:] *= 10
    numbers, found = piece_numbers(joints, 2.0), over_pieces(probs, joints, 2.0)
    assert numbers.unique().tolist() == [0, 1]
    torch.testing.assert_close(found, torch.stack([probs[numbers == number].mean(0) for number in numbers]))


def test_the_windows_of_a_long_recording_are_cross_faded() -> None:
    model, _ = network()
    joints = np.random.default_rng(1).normal(size=(200, NUM_JOINTS, 3)).astype(np.float32)
    spans = windows(200, 64)
    alone = [score(model, joints[start:end], longest=64) for start, end in spans]
    scored = score(model, joints, longest=64)
    assert len(spans) > 2
    np.testing.assert_allclose(scored.video_probs, np.max([window.video_probs for window in alone], axis=0))
    for part in ("frame_probs", "features"):
        found = getattr(scored, part)
        assert len(found) == 200
        for frame in range(200):
            inside = [i for i, (start, end) in enumerate(spans) if start <= frame < end]
            rows = [getattr(alone[i], part)[frame - spans[i][0]] for i in inside]
            expected = rows[0]
            if len(inside) == 2:
                start, end = spans[inside[1]][0], spans[inside[0]][1]
                share = (frame + 0.5 - start) / (end - start)
                expected = (1 - share) * rows[0] + share * rows[1]
            np.testing.assert_allclose(found[frame], expected, atol=1e-5)
    np.testing.assert_allclose(scored.frame_probs.sum(axis=1), 1, atol=1e-5)


def test_features_that_nobody_asked_for_are_not_brought_to_every_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = network()
    joints = np.random.default_rng(3).normal(size=(100, NUM_JOINTS, 3)).astype(np.float32)
    whole = score(model, joints, longest=64)
    monkeypatch.setattr(inference, "interpolate", None)
    scored = score(model, joints, longest=64, features=False)
    assert scored.features is None
    for part in ("frame_probs", "gated", "video_probs"):
        np.testing.assert_array_equal(getattr(scored, part), getattr(whole, part))


def test_a_window_is_gated_by_its_own_video_probabilities() -> None:
    model, _ = network()
    joints = np.random.default_rng(2).normal(size=(120, NUM_JOINTS, 3)).astype(np.float32)
    joints[60:] *= 3
    spans = windows(120, 64)
    alone = [score(model, joints[start:end], longest=64).video_probs for start, end in spans]
    least = float(np.mean([alone[0][0], alone[-1][0]]))
    scored = score(model, joints, 64, least)
    for frame, window in ((0, 0), (119, -1)):  # in one window alone
        here = scored.gated[frame]
        np.testing.assert_array_equal(here > 0, alone[window] >= least)
        np.testing.assert_array_equal(here[here > 0], scored.frame_probs[frame][here > 0])
    assert (scored.gated[0, 0] > 0) != (scored.gated[119, 0] > 0)


@pytest.mark.parametrize("frames", [1, 2, 9, 10, 11])
def test_every_third_frame_is_interpolated_to_all(frames: int) -> None:
    rows = np.random.default_rng(0).random((len(range(0, frames, 3)), 2))
    found = every_frame(rows, 3, frames)
    expected = [np.interp(np.arange(frames), np.arange(0, frames, 3), column) for column in rows.T]
    np.testing.assert_allclose(found, np.transpose(expected))


def test_a_recording_has_the_scores_of_evaluation_when_the_network_sees_every_third_frame(
    make_split: Callable[..., Split],
) -> None:
    split = make_split(train=[20], val=[40, 9])
    model, settings = network(f"data.root={split.folder.parent}", "data.split=tiny", "data.frame_step=3")
    validation = Validation(split, settings, CPU)
    validation.evaluate(model)
    for clip in validation.results:
        joints = split.store.joints(clip.name)
        whole = score_recording(
            model, lambda *_, x=joints: network_input(x, "upright"), len(joints), 99, settings.eval, CPU, 3
        )
        np.testing.assert_allclose(whole.frame_probs, clip.frame_probs, atol=1e-6)
        assert len(clip.frame_probs) == len(clip.labels) == len(whole.features)
