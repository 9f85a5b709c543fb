"""Splits in the layouts of other projects, read back as these projects document them."""

import json
import math
import pickle
from pathlib import Path

import motions
import numpy as np
import pytest
import torch
from commands import call, exit_status
from predictions import CLASSES as CHECKPOINT_CLASSES
from predictions import checkpoint

from evaluation.detections import read
from feeders.dataset import network_input
from model.localizer import Localizer
from prepare import own_data
from prepare.options import ReadOptions
from prepare.store import interchange
from prepare.store.exports import export_features, export_ground_truth, export_pyskl, export_released
from utils import config
from utils.errors import UserError
from utils.run import FORMAT, write_checkpoint
from utils.skeleton import KINECT_ORDER
from utils.store import Split

CLASSES = ("walk", "wave")


def own_split(folder: Path, name: str, annotations: Path) -> Split:
    own_data.prepare_recordings(folder / "motion", annotations, name, folder / "out", ReadOptions("synthetic"))
    return Split.open(folder / "out", name)


def test_the_ground_truth_is_read_back_by_own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_data, "write_card", lambda split: split.folder)  # the page takes most of the time
    (tmp_path / "motion" / "day").mkdir(parents=True)
    (tmp_path / "labels.csv").write_text(
        "recording,subset,label,start,end\nday/one,train,walk,0.5,1.23\nday/one,train,wave,1,2\n"
        "day/one,train,walk,1.5,3\ntwo,train,wave,,\ntwo,train,walk,0,1\nthree,val,walk,0.1,0.4\n"
    )
    joints = motions.joints_of(motions.poses(3.0))
    for name in ("day/one", "two", "three"):
        np.savez(tmp_path / "motion" / f"{name}.npz", joints=joints, fps=30)
    split = own_split(tmp_path, "mine", tmp_path / "labels.csv")
    path, classes = export_ground_truth(split, tmp_path)
    assert classes.read_text().split("\n") == ["walk", "wave", ""]
    back = own_split(tmp_path, "again", path)
    assert back.classes == split.classes
    for subset in ("train", "val"):
        assert back.clip_ids(subset) == split.clip_ids(subset)
        for sid in split.clip_ids(subset):
            assert np.array_equal(back.labels(sid), split.labels(sid))
            assert np.array_equal(back.untimed(sid), split.untimed(sid))
    assert split.untimed("two").tolist() == [False, True]
    annotations = pickle.loads(export_pyskl(split, tmp_path)[0].read_bytes())["annotations"]
    assert {one["frame_dir"]: one["label"] for one in annotations}["two"] == [0, 1]


def test_the_released_pickles_leave_out_clips_that_are_too_long_and_say_so(
    make_split, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    paths = export_released(make_split(train=[20, 1001], val=[30]), tmp_path)
    assert [pickle.loads(path.read_bytes())["sid"] for path in paths] == [["train0"], ["val0"]]
    assert capsys.readouterr().out.startswith("1 train clips are left out: longer than 1,000 frames, or no label")


def test_the_released_pickles_list_the_classes_of_their_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_data, "write_card", lambda split: split.folder)
    (tmp_path / "motion").mkdir()
    (tmp_path / "labels.csv").write_text(
        "recording,subset,label,start,end\none,train,walk,0.5,2\none,train,wave,1,2\ntwo,train,walk,0,1\n"
        "two,train,wave,0.5,2\nthree,train,walk,,\nthree,train,wave,0,1\nfour,val,wave,0,1\n"
    )
    for name in ("one", "two", "three", "four"):
        np.savez(tmp_path / "motion" / f"{name}.npz", joints=motions.joints_of(motions.poses(2.0)), fps=30)
    path = export_released(own_split(tmp_path, "mine", tmp_path / "labels.csv"), tmp_path)[0]
    content = pickle.loads(path.read_bytes())
    assert dict(zip(content["sid"], content["Y"], strict=True)) == {"one": [0], "two": [0, 1], "three": [1]}
    assert [np.unique(frames[frames < 2]).tolist() for frames in content["L"]] == content["Y"]


def test_the_pickle_has_pyskls_layout(make_split, tmp_path: Path) -> None:
    split = make_split(train=[12, 7], val=[9])
    path, classes = export_pyskl(split, tmp_path)
    content = pickle.loads(path.read_bytes())
    assert content["split"] == {"train": ["train0", "train1"], "val": ["val0"]}
    by_name = {annotation["frame_dir"]: annotation for annotation in content["annotations"]}
    assert len(by_name) == len(content["annotations"]) == 3
    for sid, annotation in by_name.items():
        M, T, V, C = annotation["keypoint"].shape
        assert (1, annotation["total_frames"], 25, 3) == (M, T, V, C)
        assert np.array_equal(annotation["keypoint"][0][:, KINECT_ORDER], split.store.joints(sid))  # swapped back
        one_hot = torch.zeros(len(CLASSES))
        one_hot[annotation["label"]] = 1.0  # as pyskl does for a list of labels
        assert one_hot.bool().tolist() == split.labels(sid).any(axis=0).tolist()


@pytest.fixture()
def weights(tmp_path: Path) -> tuple[Path, Localizer]:
    settings = config.load([], ["model.width=4", "data.max_frames=50"])
    model = Localizer(len(CLASSES), settings.model).eval()
    entries = {"model": model.state_dict(), "classes": list(CLASSES), "settings": settings.model_dump()}
    write_checkpoint(tmp_path / "best.pt", {"format": FORMAT, **entries})
    return tmp_path / "best.pt", model


def test_features_are_read_by_actionformer_and_opentad(make_split, tmp_path: Path, weights: tuple) -> None:
    split = make_split(train=[40, 70, 9], val=[33])  # 70 frames are more than max_frames
    path, classes, folder = export_features(split, weights[0], tmp_path)
    database = json.loads(path.read_text())["database"]
    assert {name: entry["subset"] for name, entry in database.items()} == {
        "train0": "training", "train2": "training", "val0": "validation",
    }  # fmt: skip
    names = classes.read_text().splitlines()
    for sid, entry in database.items():
        features = np.load(folder / f"{sid}.npy")
        frames = entry["frame"]
        assert features.dtype == np.float32
        assert features.shape == (math.ceil(frames / 8), 16)
        joints = network_input(split.store.joints(sid), "upright")
        with torch.no_grad():
            expected = weights[1](joints[None], torch.ones(1, frames, dtype=torch.bool), torch.tensor([frames]))
        np.testing.assert_allclose(features, expected.features[0].numpy(), atol=1e-5)
        read = np.zeros((frames, len(CLASSES)), bool)
        stride, num_frames = 8, 1
        for found in entry["annotations"]:
            # ActionFormer's grid of a segment in seconds, and OpenTAD's frame numbers
            start, end = (x * entry["fps"] / stride - 0.5 * num_frames / stride for x in found["segment"])
            assert -0.07 < start < end <= len(features)
            first, last = (round(x / entry["duration"] * entry["frame"]) for x in found["segment"])
            assert (start + 0.5 / stride) * stride == pytest.approx(first)
            read[first:last, names.index(found["label"])] = True
            assert CLASSES[found["label_id"]] == found["label"]
        assert np.array_equal(read, split.labels(sid))


def test_features_are_in_float32_on_a_gpu_too(make_split, tmp_path: Path, weights: tuple, monkeypatch) -> None:
    """PyTorch's default lets cuDNN's convolutions use TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    export_features(make_split(train=[9], val=[9]), weights[0], tmp_path)
    assert not torch.backends.cudnn.allow_tf32


def test_the_stride_of_features_counts_the_frames_that_the_network_skips(
    make_split, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    split = make_split(CHECKPOINT_CLASSES, train=[40], val=[33])
    folder = export_features(split, checkpoint(tmp_path / "best.pt", "data.frame_step=3"), tmp_path)[2]
    assert len(np.load(folder / "train0.npy")) == math.ceil(40 / 24)
    assert "feat_stride 24," in capsys.readouterr().out


def test_long_clip_ids_make_files_of_features_whose_names_are_read_again(
    make_split, tmp_path: Path, weights: tuple
) -> None:
    split = make_split(train=[20, 20], val=[20])
    ids = ["跑" * 80 + "a", "跑" * 80 + "b"]
    for number, sid in enumerate(ids):
        split.store.clips[sid] = split.store.clips.pop(f"train{number}")
        split._rows[sid] = split._rows.pop(f"train{number}")
        split.manifest.clips["train"][number] = (sid, 20)
    path, *_ = export_features(split, weights[0], tmp_path)
    names = list(json.loads(path.read_text())["database"])
    assert {f"{name}.npy" for name in names} == {file.name for file in (tmp_path / "features").iterdir()}
    content = {"results": {name: [{"label": "walk", "score": 1, "segment": [0, 1]}] for name in names}}
    path.write_text(json.dumps(content))
    assert sorted(read(path, [*ids, "val0"], CLASSES).clip) == [0, 1, 2]


def test_a_clip_id_never_leaves_the_folder(make_split, tmp_path: Path, weights: tuple) -> None:
    split = make_split(train=[20], val=[20])
    split.store.clips["../day/one"] = split.store.clips.pop("train0")
    split._rows["../day/one"] = split._rows.pop("train0")
    split.manifest.clips["train"][0] = ("../day/one", 20)
    path, *_ = export_features(split, weights[0], tmp_path)
    assert set(json.loads(path.read_text())["database"]) == {"..%2Fday%2Fone", "val0"}
    assert {file.name for file in (tmp_path / "features").iterdir()} == {"..%2Fday%2Fone.npy", "val0.npy"}


def test_a_checkpoint_of_other_classes_is_refused(make_split, tmp_path: Path, weights: tuple) -> None:
    with pytest.raises(UserError, match="was trained for walk, wave, the data has sit, run"):
        export_features(make_split(classes=("sit", "run"), train=[9], val=[9]), weights[0], tmp_path)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--format", "features"], "--format features and --weights FILE are needed together"),
        (["--weights", "best.pt"], "--format features and --weights FILE are needed together"),
        (["--format", "pysky"], "invalid choice: 'pysky'"),
    ],
)
def test_a_mistake_is_one_clear_message(capsys: pytest.CaptureFixture, given: list[str], said: str) -> None:
    command = ["interchange", "export", "--split", "split1", "--out", "there"]
    assert exit_status(interchange.main, *command, *given) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", interchange.FORMATS)
def test_the_command_writes_every_format(
    make_split, tmp_path: Path, weights: tuple, capsys: pytest.CaptureFixture, name: str
) -> None:
    split, out = make_split(train=[12], val=[9]), tmp_path / "there"
    command = ["interchange", "export", "--data", tmp_path, "--split", split.name, "--out", out]
    more = ["--weights", weights[0]] if name == "features" else []
    call(interchange.main, *command, "--format", name, *more)
    files = [line.removeprefix("written: ") for line in capsys.readouterr().out.splitlines() if "written: " in line]
    assert files
    assert all(Path(file).exists() for file in files)
