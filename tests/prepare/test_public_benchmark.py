"""The public benchmark, on invented files that are named and laid out as the Bandai-Namco data set."""

import csv
import itertools
import json
import shutil
import tarfile
from pathlib import Path

import motions
import numpy as np
import pytest
from commands import call

from prepare import own_data, public_benchmark
from prepare.formats.bvh import read_bvh
from prepare.options import ReadOptions
from prepare.skeletons.stitch import CHANNELS
from utils.errors import UserError
from utils.store import Split

PART = Path(__file__).parents[3] / "shared" / "public_mocap" / "bandai_namco_part.tar.xz"
LIMBS = {  # parent and offset in centimetres
    "joint_Root": (None, (0, 0, 0)), "Hips": ("joint_Root", (0, 90, 0)), "Spine": ("Hips", (0, 15, 0)),
    "Chest": ("Spine", (0, 15, 0)), "Neck": ("Chest", (0, 20, 0)), "Head": ("Neck", (0, 15, 0)),
    **{f"{part}_{side}": (parent and f"{parent}_{side}" if own else parent, (sign * x, y, z))
       for side, sign in (("L", 1), ("R", -1))
       for part, parent, own, x, y, z in (
           ("UpperArm", "Chest", False, 18, 15, 0), ("LowerArm", "UpperArm", True, 3, -28, 0),
           ("Hand", "LowerArm", True, 0, -25, 0), ("UpperLeg", "Hips", False, 9, -3, 0),
           ("LowerLeg", "UpperLeg", True, 0, -42, 0), ("Foot", "LowerLeg", True, 0, -40, 0),
           ("Toes", "Foot", True, 0, -4, 14))},
}  # fmt: skip
ACTIONS = ("walk", "run", "walk-turn-left", "wave-left-hand", "raise-up-both-hands", "bow", "bye")
FRAMES = 100
OPTIONS = ReadOptions(body="synthetic")


def write_file(path: Path, action: str, size: float) -> None:
    """One file of an actor whose bones are longer by `size`; "walk-turn-left" turns by 90° in its middle."""
    names = list(LIMBS)
    scale = np.float64(1 + size)
    nodes = [(n, names.index(p) if p else -1, scale * np.array(o, float), CHANNELS) for n, (p, o) in LIMBS.items()]
    values = np.zeros((FRAMES, len(names), 6))
    values[:, :, :3] = [node[2] for node in nodes]
    values[:, 1, 2] += np.arange(FRAMES)
    if action == "walk-turn-left":
        values[:, 1, 5] = 90 / (1 + np.exp(-(np.arange(FRAMES) - 50) / 5))
    motions.write_bvh(path, nodes, values.reshape(FRAMES, -1), 1 / 30)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """Files of two actors, and some that the benchmark does not use; their folder and the number that it uses."""
    folder = tmp_path_factory.mktemp("clone") / "dataset" / "Bandai-Namco-Research-Motiondataset-2" / "data"
    folder.mkdir(parents=True)
    used = 0
    for actor, action in itertools.product(range(2), ACTIONS):
        names = (f"dataset-2_{action}_style_{number:03}.bvh" for number in itertools.count(500 * actor))
        for name in itertools.islice(filter(public_benchmark.is_selected, names), 4):
            write_file(folder / name, action, 0.1 * actor)
            used += 1
    name = next(n for k in range(99) if not public_benchmark.is_selected(n := f"dataset-2_walk_style_{k:03}.bvh"))
    write_file(folder / name, "walk", 0.0)
    return folder.parents[2], used


def test_every_build_gives_the_same_recordings(source: tuple[Path, int], tmp_path: Path) -> None:
    elsewhere = tmp_path / "flat"
    elsewhere.mkdir()
    for path in source[0].rglob("*.bvh"):
        shutil.copy(path, elsewhere)
    builds = [public_benchmark.build(folder, tmp_path / name, source[1])[0] for folder, name in
              ((source[0], "a"), (elsewhere, "b"))]  # fmt: skip
    files = [{path.name: path.read_bytes() for path in folder.iterdir()} for folder in builds]
    assert len(files[0]) > 4
    assert files[0] == files[1]
    assert (tmp_path / "a" / "public.csv").read_bytes() == (tmp_path / "b" / "public.csv").read_bytes()


def test_labels_lie_on_the_frames_of_their_files(source: tuple[Path, int], tmp_path: Path) -> None:
    folder, tables = public_benchmark.build(*(source[0], tmp_path / "a"), source[1])
    rows = list(csv.DictReader(tables["public"].open()))
    own_data.prepare_recordings(folder, tables["public"], "public", tmp_path / "out", OPTIONS)
    split = Split.open(tmp_path / "out", "public")
    used = json.loads((tmp_path / "a" / "sources.json").read_text())["files"]
    flat = [file for files in used.values() for file in files]
    assert len(flat) == len(set(flat))  # no file twice, so none in training and in validation
    assert not any("_bye_" in file for file in flat)
    assert {row["label"] for row in rows} == {"walk", "run", "turn", "wave", "raise arms"}
    for sid in split.clip_ids("train"):
        labels = split.labels(sid)
        frames = {name: labels[:, k].sum() for k, name in enumerate(split.classes)}
        of = {name: sum(f"_{name}_" in file for file in used[sid]) for name in ACTIONS}
        assert frames["walk"] == FRAMES * (of["walk"] + of["walk-turn-left"])
        assert frames["wave"] == FRAMES * of["wave-left-hand"]
        assert frames["turn"] <= frames["walk"]
        assert (labels[:, split.classes.index("turn")] <= labels[:, split.classes.index("walk")]).all()
        assert abs(frames["turn"] - 40 * of["walk-turn-left"]) <= 8 * of["walk-turn-left"]
        blends = len(labels) - FRAMES * len(used[sid])
        assert 12 * (len(used[sid]) - 1) <= blends <= 30 * (len(used[sid]) - 1)
    assert read_bvh(folder / f"{split.clip_ids('val')[0]}.bvh").fps == 30


def test_a_part_of_a_clone_is_refused(source: tuple[Path, int], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"holds {source[1]} of the 991 files"):
        public_benchmark.build(source[0], tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_out_has_to_be_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(SystemExit):
        call(public_benchmark.main, "public_benchmark.py", "--source", tmp_path, "--out", tmp_path / "a")
    assert "expected a folder, this is a file" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not PART.exists(), reason="the part of the public data set is not beside the project")
def test_the_real_files(tmp_path: Path) -> None:
    with tarfile.open(PART) as archive:
        archive.extractall(tmp_path / "clone", filter="data")
    folder, tables = public_benchmark.build(tmp_path / "clone", tmp_path / "a")
    assert len(list(folder.iterdir())) == 211
    for split in ("public", "public_actors"):
        own_data.prepare_recordings(folder, tables[split], split, tmp_path / "out", OPTIONS, workers=2)
    split = Split.open(tmp_path / "out", "public_actors")
    actors = [{sid[:4] for sid in split.clip_ids(subset)} for subset in ("train", "val")]
    assert not actors[0] & actors[1]
    heights = [split.store.joints(sid)[..., 2].min() for sid in split.store.clips]
    assert min(heights) > 0.03  # metres; no foot in the floor
    speeds = [30 * np.linalg.norm(np.diff(split.store.joints(sid), axis=0), axis=-1).max() for sid in split.store.clips]
    assert max(speeds) < 15  # metres a second; the fastest hand of the source moves at 10
