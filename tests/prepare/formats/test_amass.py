"""AMASS takes: found under every name of their folders, read as numpy reads them, or refused with the reason."""

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prepare.formats.amass import FOLDER_ALIASES, download_name, find_takes, read_poses
from prepare.formats.flavours import SMPLH
from prepare.formats.frames import resample_indices
from utils.errors import TakeError, UserError
from utils.manifest import OTHER_DURATION

# BABEL's name: other names of the same folder, today's first
NAMES = {
    "BioMotionLab_NTroje": ["BMLrub"],
    "DFaust_67": ["DFaust", "DFaust67"],
    "Eyes_Japan_Dataset": ["EyesJapanDataset"],
    "MPI_HDM05": ["HDM05", "MPIHDM05"],
    "MPI_mosh": ["MoSh", "MPImosh"],
    "MPI_Limits": ["PosePrior", "MPILimits"],
    "SSM_synced": ["SSM", "SSMsynced"],
    "TCD_handMocap": ["TCDHands", "TCDhandMocap"],
    "Transitions_mocap": ["Transitions", "Transitionsmocap"],
}
UNCHANGED = ["KIT", "CMU", "EKUT", "ACCAD", "BMLmovi", "SFU", "TotalCapture", "HumanEva"]
PAIRS = [(name, other) for name, others in NAMES.items() for other in (name, *others)] + [(n, n) for n in UNCHANGED]
RATES = {120.0: 120, 100.0: 100, 60.0: 60, 250.0: 250, 120.00004577636719: 120, 59.9999885559082: 60, 150.0: 150}


def place(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()


def found(root: Path, feat_p: str) -> str | None:
    return find_takes(root, SMPLH, [feat_p]).get(feat_p)


@pytest.mark.parametrize(("name", "other"), PAIRS)
@pytest.mark.parametrize("above", ["", "amass/SMPL+H G/"])
def test_a_take_is_found_under_every_name_of_its_folder(tmp_path: Path, name: str, other: str, above: str) -> None:
    spellings = {other, other.lower(), other.upper(), other.replace("_", " ")}
    for number, spelling in enumerate(sorted(spellings)):
        file = f"{above}{spelling}/rub{number}/0020 lifting_heavy2_poses.npz"
        place(tmp_path, file, f"{above}{spelling}/rub9/0020_lifting_heavy2_poses.npz")
        assert found(tmp_path, f"any/{name}/rub{number}/0020_lifting_heavy2_poses.npz") == file
        assert found(tmp_path, f"any/{other}/RUB{number}/0020 lifting heavy2_poses.npz") == file


@pytest.mark.parametrize("there", ["a walk_poses.npz", "A_Walk_stageii.npz", "a_walk_poses.NPZ", "a_walk.npz"])
def test_endings_case_and_spaces_of_a_file_do_not_matter(tmp_path: Path, there: str) -> None:
    place(tmp_path, f"CMU/01/{there}")
    for asked in ("a_walk_poses.npz", "a walk_poses.npz", "a_walk_stageii.npz"):
        assert found(tmp_path, f"CMU/CMU/01/{asked}") == f"CMU/01/{there}"


def test_of_several_files_the_exact_name_wins_then_the_older_ending_then_the_shorter_path(tmp_path: Path) -> None:
    asked = "CMU/CMU/01/a_walk_poses.npz"
    better = [
        "A/CMU/01/a_walk_stageii.npz",
        "CMU/01/A_WALK_stageii.npz",
        "A/CMU/01/a_walk_poses.npz",
        "CMU/01/a walk_poses.npz",
        "CMU/01/a_walk_poses.npz",
    ]
    for file in better:
        place(tmp_path, file)
        assert found(tmp_path, asked) == file


def test_other_takes_are_not_found(tmp_path: Path) -> None:
    place(tmp_path, "CMU/01/a_poses.npz", "CMU/01/a_poses.txt", "KIT/01/b_poses.npz")
    others = ("CMU/CMU/01/b_poses.npz", "CMU/CMU/02/a_poses.npz", "CMU/CMU/a_poses.npz", "KIT/KIT/02/b_poses.npz")
    assert find_takes(tmp_path, SMPLH, others) == {}


def test_a_link_to_a_parent_folder_is_not_followed_for_ever(tmp_path: Path) -> None:
    place(tmp_path, "CMU/01/a_poses.npz")
    (tmp_path / "CMU/01/again").symlink_to(tmp_path)
    assert found(tmp_path, "CMU/CMU/01/a_poses.npz") == "CMU/01/a_poses.npz"


@pytest.mark.parametrize(
    "feat_p",
    [
        "",
        "a.npz",
        "CMU/a.npz",
        "CMU/../a.npz",
        "CMU/CMU/../../a.npz",
        "//a.npz",
        "a/./b.npz",
        "a/b\\..\\c/d",
        "a/b/\ud800.npz",
    ],
)
def test_a_path_that_leaves_the_folder_is_not_found(tmp_path: Path, feat_p: str) -> None:
    place(tmp_path, "CMU/01/a_poses.npz", "../a.npz")
    assert found(tmp_path, feat_p) is None


def test_a_missing_or_empty_amass_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere holds no AMASS take .* or name your folder by --amass"):
        find_takes(tmp_path / "nowhere", SMPLH, [])
    (tmp_path / "CMU").mkdir()
    with pytest.raises(UserError, match=r"holds no AMASS take \(.npz\): download 'SMPL\+H G' .* from https://amass"):
        find_takes(tmp_path, SMPLH, [])


def test_the_name_on_the_download_page_is_the_current_one() -> None:
    for name, others in NAMES.items():
        assert [download_name(known) for known in (name, *others)] == [others[0]] * (1 + len(others))
    assert [download_name(name) for name in UNCHANGED] == UNCHANGED
    assert download_name("Elsewhere") is None
    assert FOLDER_ALIASES.keys() == {*NAMES, *UNCHANGED}


def take(tmp_path: Path, **changes: Any) -> Path:
    """A take's file. `changes` replace its arrays; None removes one."""
    content = {
        "poses": np.random.default_rng(0).normal(size=(100, 156)),
        "mocap_framerate": np.array(120.0),
        "gender": np.array(b"male"),
        **changes,
    }
    np.savez(tmp_path / "take.npz", **{name: values for name, values in content.items() if values is not None})
    return tmp_path / "take.npz"


def read(path: Path) -> np.ndarray:
    return read_poses(path, SMPLH)[1]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray])
@pytest.mark.parametrize("number", ["<f8", "<f4", ">f4"])
def test_poses_equal_those_that_numpy_reads(tmp_path: Path, rate: float, layout: Any, number: str) -> None:
    poses = layout(np.random.default_rng(1).normal(size=(100, 156)), number)
    path = take(tmp_path, poses=poses, mocap_framerate=np.array(rate))
    with np.load(path) as plain:
        expected = plain["poses"][[n * RATES[rate] // 30 for n in range(100) if n * RATES[rate] // 30 < 100]]
    fps, found = read_poses(path, SMPLH)
    assert (fps, found.dtype) == (rate, np.float32)
    assert np.array_equal(found, expected.astype(np.float32))


@pytest.mark.parametrize(
    ("frames", "rate", "accepted"),
    [
        *((frames, 120.0, True) for frames in (1200, 1177, 1223)),
        (1199, 120.00004577636719, True),
        (1200, 240.0, False),
        (1200, 60.0, False),
        (1200, 100.0, False),
        (400, 120.0, False),
        (1175, 120.0, False),
        (1225, 120.0, False),
    ],
)
def test_a_take_that_lasts_another_time_than_babel_says_is_refused(
    tmp_path: Path, frames: int, rate: float, accepted: bool
) -> None:
    path = take(tmp_path, poses=np.zeros((frames, 156)), mocap_framerate=np.array(rate))
    if accepted:
        read_poses(path, SMPLH, seconds=10.0)
        return
    seconds = f"{frames / rate:.2f}"
    with pytest.raises(TakeError, match=rf"{OTHER_DURATION} \({frames} frames at .* are {seconds} s, BABEL has 10"):
        read_poses(path, SMPLH, seconds=10.0)


def test_the_rate_is_read_under_both_names_and_in_any_form(tmp_path: Path) -> None:
    for name in ("mocap_framerate", "mocap_frame_rate"):
        for rate in (np.array(60), np.array([60.0]), np.array([[60]], np.uint8), np.float32(60)):
            fps, _ = read_poses(take(tmp_path, **{"mocap_framerate": None, name: rate}), SMPLH)
            assert fps == 60.0


def test_arrays_that_are_not_needed_do_not_matter(tmp_path: Path) -> None:
    for gender in (np.array(b"male"), np.array("male"), np.array([object()], object), None):
        assert read(take(tmp_path, gender=gender, labels=np.array({}, object))).shape == (25, 156)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"poses": None}, "has gender, mocap_framerate, expected the arrays 'poses'"),
        (
            {"poses": np.zeros((9, 165))},
            r"poses \(T, 165\) .* SMPL-H are \(T, 156\) .*'SMPL\+H G' from https://amass.*, or give an SMPL-X",
        ),
        ({"poses": np.zeros((9, 72))}, r"poses \(T, 72\) of type float64, those of SMPL-H are \(T, 156\) floats"),
        ({"poses": np.zeros((9, 52, 3))}, r"poses \(T, 52, 3\) of type float64"),
        ({"poses": np.zeros((9, 156), int)}, r"poses \(T, 156\) of type int64"),
        ({"poses": np.full((9, 156), None)}, "'poses' is not a whole array of numbers or text"),
        ({"poses": np.zeros((0, 156))}, "has no frame"),
        ({"mocap_framerate": None}, "has gender, poses, expected .* 'mocap_framerate' or 'mocap_frame_rate'"),
        ({"mocap_framerate": np.array([120.0, 60.0])}, r"mocap_framerate of shape \(2,\) and type float64, not one"),
        ({"mocap_framerate": np.array("120")}, r"mocap_framerate of shape \(\) and type <U3"),
        ({"mocap_framerate": np.array(None)}, "'mocap_framerate' is not a whole array of numbers or text"),
        *(
            ({"mocap_framerate": np.array(rate)}, "frames per second, not between 1 and 2000")
            for rate in (0.0, -30.0, 1e9, np.nan, np.inf)
        ),
    ],
)
def test_the_error_names_what_is_wrong_with_a_take(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(TakeError, match=said):
        read_poses(take(tmp_path, **changes), SMPLH)


@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e300])
def test_poses_that_are_no_angles_are_refused_in_any_frame(tmp_path: Path, value: float) -> None:
    for frame in (0, 96, 98):  # frame 98 is not used at 30 fps
        poses = np.zeros((100, 156))
        poses[frame, 80] = value
        with pytest.raises(TakeError, match="has poses that are not finite"):
            read(take(tmp_path, poses=poses))


def test_a_damaged_or_missing_file_is_refused(tmp_path: Path) -> None:
    path = take(tmp_path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(TakeError, match=r"is not a whole \.npz file"):
        read_poses(path, SMPLH)
    path.unlink()
    with pytest.raises(TakeError, match="cannot be read"):
        read_poses(path, SMPLH)


def test_a_rate_counts_as_whole_within_a_thousandth() -> None:
    whole = resample_indices(20_000, 60)
    assert np.array_equal(resample_indices(20_000, 59.9992), whole)
    assert not np.array_equal(resample_indices(20_000, 59.998), whole)


@pytest.mark.parametrize("rate", RATES)
def test_output_frame_n_is_input_frame_n_times_the_rate_over_30(rate: float) -> None:
    step = Fraction(RATES[rate], 30)
    for frames in (*range(1, 40), 1000, 54321):
        count = math.ceil(frames / step)
        assert math.floor((count - 1) * step) < frames <= math.floor(count * step)
        assert resample_indices(frames, rate).tolist() == [math.floor(n * step) for n in range(count)]


@given(frames=st.integers(1, 3000), rate=st.floats(1, 2000))
def test_at_any_rate_frames_are_in_order_and_reach_the_end(frames: int, rate: float) -> None:
    indices = resample_indices(frames, rate)
    assert indices[0] == 0
    assert (np.diff(indices) >= 0).all()
    assert indices[-1] < frames
    assert len(indices) * rate / 30 > frames * 0.999 - 1e-6
