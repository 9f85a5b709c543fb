"""What several tests share: data made once, and where the released code's numbers and real motion are, if anywhere.

Fixtures import what loads torch or scipy: the process that hands out the tests to workers reads this file, too.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: small tensors, and sums that come out the same everywhere

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from utils.skeleton import FPS, NUM_JOINTS
from utils.store import Clip, Split, write_split, write_store

SHARED = Path(__file__).parents[2] / "shared"  # beside the checkout; not part of the project


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of numbers that the released code gives."""
    return _present("golden")


@pytest.fixture(scope="session")
def real_mocap() -> Path:
    """The folder of real motion in AMASS + BABEL layout."""
    return _present("real_mocap")


def _present(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not beside the checkout")
    return folder


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of synthetic data: 24 clips; not to be written to."""
    from prepare.synthetic.generate import write_synthetic

    folder = tmp_path_factory.mktemp("synthetic") / "data"
    write_synthetic(folder, 24)
    return folder


@pytest.fixture()
def data(synthetic: Path, tmp_path: Path) -> Path:
    """A copy of the synthetic data that a test may spoil; times of files are kept."""
    return Path(shutil.copytree(synthetic, tmp_path / "data"))


@pytest.fixture(scope="session")
def prepared(synthetic: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store and the three splits of these data; not to be written to."""
    from prepare.build import build
    from prepare.formats.labels import PAPER_SPLITS

    out = tmp_path_factory.mktemp("prepared")
    build(synthetic / "amass", synthetic / "babel_v1.0_release", "synthetic", out, PAPER_SPLITS)
    return out


@pytest.fixture(scope="session")
def trained(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of 3 epochs; not to be written to."""
    from runs import run, small

    folder = tmp_path_factory.mktemp("trained") / "run"
    assert run(*small(prepared, folder), pictures=True) == 0
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small random network."""
    from predictions import checkpoint

    return checkpoint(tmp_path_factory.mktemp("weights") / "best.pt")


@pytest.fixture(scope="session")
def motion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with five recordings, one of each format; the last has two people. Not to be written to."""
    import motions

    folder = tmp_path_factory.mktemp("motion")
    poses = motions.poses(3.0, seed=1)
    joints = motions.joints_of(poses)
    (folder / "takes").mkdir()
    np.savez(folder / "takes" / "a_poses.npz", poses=poses, mocap_framerate=30.0)
    np.save(folder / "b.npy", joints)
    np.savez(folder / "c.npz", joints=joints, fps=30)
    motions.write_body_bvh(folder / "d.bvh", poses)
    bodies = {"1": (list(range(90)), joints), "2": (list(range(30, 90)), joints[30:])}
    motions.write_ntu(folder / "e.skeleton", 90, bodies)
    motions.write_smplh_map(folder / "map.yaml")
    return folder


@pytest.fixture()
def make_split(tmp_path: Path) -> Callable[..., Split]:
    """Makes a split of random skeletons: `make_split(train=[40, 9], val=[30])` clips of these many frames.

    The ids of the clips are train0, train1, val0. Those in `pairs` have two people.
    """

    def make(
        classes: tuple[str, ...] = ("walk", "wave"),
        gaps: bool = False,
        pairs: tuple[str, ...] = (),
        **frames: list[int],
    ) -> Split:
        rng = np.random.default_rng(0)
        clips, labelled = [], {"train": [], "val": []}
        for subset, lengths in frames.items():
            for number, length in enumerate(lengths):
                sid = f"{subset}{number}"
                start = sum(clip.rows for clip in clips)
                facts = {"feat_p": f"A/B/{sid}.npz", "fps": 30.0, "duration": length / FPS, "source": {}}
                people = 2 if sid in pairs else 1
                clips.append(Clip(sid=sid, subset=subset, start=start, frames=length, people=people, **facts))
        joints = [rng.normal(size=(clip.rows, NUM_JOINTS, 3)) for clip in clips]
        for clip in clips:
            labels = rng.random((clip.frames, len(classes))) < 0.5
            annotated = np.arange(clip.frames) % 4 > 0 if gaps else np.ones(clip.frames, bool)
            labelled[clip.subset].append((clip.sid, labels & annotated[:, None], annotated))
        (tmp_path / "skeletons-test").mkdir()
        write_store(tmp_path / "skeletons-test", clips, joints, {})
        facts = {"name": "tiny", "classes": list(classes), "skeletons": "skeletons-test"}
        write_split(tmp_path / "tiny", labelled, facts)
        return Split.open(tmp_path, "tiny")

    return make
