"""PKU-MMD's layout becomes one store and a split for each protocol, on which training and evaluation run."""

import json
from pathlib import Path

import numpy as np
import pytest
import runs

from feeders.dataset import SkeletonClips
from prepare import pkummd
from prepare.synthetic.pkummd import write_pkummd
from utils import config
from utils.errors import UserError
from utils.store import Split


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four synthetic takes by three cameras; one of them has two people."""
    folder = tmp_path_factory.mktemp("pkummd") / "data"
    write_pkummd(folder, 4, seconds=2.0)
    return folder


def test_both_protocols_share_a_store(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    view = Split.open(tmp_path, pkummd.prepare_protocol(root, "cross-view", tmp_path).name)
    assert "12 of 12 recordings are stored, 3 of them with several people" in capsys.readouterr().out
    written = (view.store.folder / "store.json").stat().st_mtime_ns
    subject = Split.open(tmp_path, pkummd.prepare_protocol(root, "cross-subject", tmp_path).name)
    assert (view.store.folder / "store.json").stat().st_mtime_ns == written
    assert subject.store.folder == view.store.folder
    assert view.clip_ids("val") == ["0002-L", "0003-L", "0004-L", "0005-L"]
    assert subject.clip_ids("val") == ["0005-L", "0005-M", "0005-R"]
    assert len(view.classes) == 51
    assert (view.folder / "card.html").is_file()
    for sid in view.clip_ids():
        people, labels = view.store.people(sid), np.zeros_like(view.labels(sid))
        assert people.shape[1] == (2 if sid.startswith("0004") else 1)
        assert (people[:, 0, 3, 2] > people[:, 0, 0, 2]).mean() > 0.5  # the head is above the pelvis: z is up
        for row in (root / "Label" / "Train_Label_PKU_final" / f"{sid}.txt").read_text().splitlines():
            action, start, end, _ = map(int, row.split(","))
            labels[start:end, action - 1] = True
        np.testing.assert_array_equal(view.labels(sid), labels)
    clips = SkeletonClips(view, "train", config.load().data)
    seen = {sid[:4]: clips.joints(i) for i, sid in enumerate(clips.clip_ids)}
    distance = np.linalg.norm(seen["0004"][:2, :, 0, 0] - seen["0004"][:2, :, 0, 1], axis=0)
    assert distance.min() > 0.3  # both are normalized by the first person


def test_what_does_not_fit_is_reported_and_other_recordings_are_kept(root: Path, tmp_path: Path, capsys) -> None:
    data = tmp_path / "data"
    for path in sorted(root.rglob("*.txt")):
        (data / path.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
        (data / path.relative_to(root)).write_text(path.read_text())
    skeletons, labels = data / "Data" / "PKU_Skeleton_Renew", data / "Label" / "Train_Label_PKU_final"
    (skeletons / "0002-M.txt").unlink()
    (labels / "0002-R.txt").unlink()
    (skeletons / "0003-M.txt").write_text("1 2 3\n")
    frames = len((skeletons / "0005-R.txt").read_text().splitlines())
    (labels / "0005-R.txt").write_text(f"1,0,{frames + 9},2\n6,{frames},{frames + 5},2\n")
    split = Split.open(tmp_path, pkummd.prepare_protocol(data, "cross-view", tmp_path).name)
    printed = capsys.readouterr().out
    assert "9 of 12 recordings are stored" in printed
    assert "recordings without a skeleton or label file (2): 0002-M; 0002-R" in printed
    assert "cannot be used (1): Data/PKU_Skeleton_Renew/0003-M.txt has 3 numbers in row 1, expected 150" in printed
    assert f"cut off there (1): {labels / '0005-R.txt'}: row 1 ('bow', 0 to" in printed
    assert f"not used (1): {labels / '0005-R.txt'}: row 2" in printed
    assert split.labels("0005-R").any(axis=0).nonzero()[0].tolist() == [0]
    with pytest.raises(UserError, match="has labels of bow"):
        (tmp_path / "own.yaml").write_text("".join(f"{number}: a{number}\n" for number in range(1, 52)))
        pkummd.prepare_protocol(data, "cross-view", tmp_path, actions=tmp_path / "own.yaml")


@pytest.mark.slow
@pytest.mark.parametrize("protocol", pkummd.PROTOCOLS)
def test_training_and_evaluation_run_on_it(root: Path, tmp_path: Path, protocol: str) -> None:
    name = pkummd.prepare_protocol(root, protocol, tmp_path / "out").name
    file = str(config.BASE.parent / f"{name}.yaml")
    changes = ["model.width=8", "train.epochs=3", "refine.start=1", "train.batch_size=4", "eval.every=3"]
    run = tmp_path / "run"
    line = ["--config", file, "--work-dir", str(run), "--set", f"data.root={tmp_path}/out", *changes]
    runs.run(*line, pictures=True)
    results = json.loads((run / "results.json").read_text())
    assert results["split"] == name
    assert "mAP at tIoU 0.5" in (run / "report.html").read_text()
    assert list(results["corrected"]["mAP_at_tIoU"]) == ["0.1", "0.3", "0.5", "0.7"]
