"""Streams: bones, motion, and padding that changes nothing."""

import pytest
import torch

from model.localizer import Localizer
from model.streams import Streams
from utils import config
from utils.skeleton import JOINT_NAMES, NUM_JOINTS

CHEST, WRIST, ELBOW = (JOINT_NAMES.index(name) for name in ("chest", "left_wrist", "left_elbow"))
ALL = ("joints", "bones", "motion")


def clip(frames: int, people: int = 1) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(1, 3, frames, NUM_JOINTS, people)


def test_streams_are_positions_bones_and_changes_between_frames() -> None:
    joints = clip(6)
    positions, bones, motion = Streams(ALL)(joints).chunk(3, dim=1)
    assert torch.equal(positions, joints)
    assert torch.equal(bones[:, :, :, WRIST], joints[:, :, :, WRIST] - joints[:, :, :, ELBOW])
    assert not bones[:, :, :, CHEST].any()
    assert torch.equal(motion[:, :, 2], 10 * (joints[:, :, 2] - joints[:, :, 1]))
    assert not motion[:, :, 0].any()


def test_a_person_who_comes_and_goes_does_not_jump() -> None:
    joints = clip(9, people=2)
    joints[:, :, [0, 1, 6, 7, 8], :, 1] = 0
    motion = Streams(["motion"])(joints)[..., 1]
    assert [t for t in range(9) if motion[:, :, t].any()] == [3, 4, 5]


@pytest.mark.parametrize("names", [("joints",), ("motion", "joints"), ALL])
def test_padding_changes_no_score(names: tuple[str, ...]) -> None:
    settings = config.load(assignments=["model.width=8", f"model.streams=[{', '.join(names)}]"]).model
    model = Localizer(2, settings).eval()
    joints, mask = clip(30), torch.ones(1, 30, dtype=torch.bool)
    padded = torch.cat([joints, torch.ones(1, 3, 9, NUM_JOINTS, 1)], dim=2)
    with torch.no_grad():
        alone = model(joints, mask, torch.tensor([30])).views[0].frame_scores
        beside = model(padded, torch.arange(39)[None] < 30, torch.tensor([30])).views[0].frame_scores
    torch.testing.assert_close(beside[:, :30], alone, atol=1e-5, rtol=0)
