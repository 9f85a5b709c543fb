"""Files for TensorBoard, read by TensorBoard's own readers."""

import resource
import time
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.metadata import (
    parse_experiment_plugin_data,
    parse_session_end_info_plugin_data,
    parse_session_start_info_plugin_data,
)
from tensorboard.plugins.pr_curve.metadata import parse_plugin_metadata

from reporting.tensorboard import TensorBoardWriter
from utils import config

SETTINGS = config.load([], ["model.width=16", "model.mask_padding=false"])


@pytest.fixture()
def writer(tmp_path: Path) -> TensorBoardWriter:
    return TensorBoardWriter(tmp_path, SETTINGS, 0)


def accumulated(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"images": 0, "histograms": 0, "tensors": 0}).Reload()


def test_numbers_of_a_row_become_curves_named_by_their_keys(writer: TensorBoardWriter, tmp_path: Path) -> None:
    writer.scalars({"epoch": 3, "loss": {"total": 0.5}, "note": "a text"})
    found = accumulated(tmp_path)
    assert found.Tags()["scalars"] == ["loss/total"]
    assert [(event.step, event.value) for event in found.Scalars("loss/total")] == [(3, 0.5)]


def test_a_histogram_counts_every_value_in_its_bin(writer: TensorBoardWriter, tmp_path: Path) -> None:
    writer.histogram("confidence", np.array([0.01, 0.49, 0.51, 0.51, 1.0], np.float32), 2)
    writer.histogram("nothing", np.array([]), 2)
    (event,) = accumulated(tmp_path).Histograms("confidence")
    histogram = event.histogram_value
    assert (event.step, histogram.num, histogram.min, histogram.max) == (2, 5, pytest.approx(0.01), 1)
    counts = dict(zip(np.round(histogram.bucket_limit, 3), histogram.bucket, strict=True))
    assert {limit: count for limit, count in counts.items() if count} == {0.025: 1, 0.5: 1, 0.525: 2, 1.0: 1}
    assert "nothing" not in accumulated(tmp_path).Tags()["histograms"]


def test_precision_and_recall_are_right_at_each_threshold(writer: TensorBoardWriter, tmp_path: Path) -> None:
    labels, probs = np.array([True, False, True, False]), np.array([0.9, 0.6, 0.4, 0.1])
    writer.precision_recall("precision_recall/walk", labels, probs, 4)
    found = accumulated(tmp_path)
    (event,) = found.Tensors("precision_recall/walk")
    metadata = found.SummaryMetadata("precision_recall/walk")
    assert metadata.plugin_data.plugin_name == "pr_curves"
    thresholds = np.linspace(0, 1, parse_plugin_metadata(metadata.plugin_data.content).num_thresholds)
    figures = np.array(event.tensor_proto.float_val).reshape(6, -1)
    for threshold, precision, recall in ((0.05, 0.5, 1), (0.5, 0.5, 0.5), (0.7, 1, 0.5)):
        at = int(np.searchsorted(thresholds, threshold))
        assert figures[4:, at] == pytest.approx([precision, recall])
    assert event.step == 4


def test_settings_and_main_results_are_there_for_comparing_runs(writer: TensorBoardWriter, tmp_path: Path) -> None:
    writer.close()
    found = accumulated(tmp_path)
    contents = {tag: found.SummaryMetadata(tag).plugin_data.content for tag in found.PluginTagToContent("hparams")}
    given = parse_session_start_info_plugin_data(contents["_hparams_/session_start_info"]).hparams
    assert given["model.width"].number_value == 16
    assert given["model.mask_padding"].string_value == "false"
    assert given["data.normalization"].string_value == "upright"
    assert "data.root" not in given
    experiment = parse_experiment_plugin_data(contents["_hparams_/experiment"])
    first = {info.name for info in experiment.hparam_infos if info.differs}
    assert first == {"model.width", "model.mask_padding"}
    assert "corrected/mAP" in {info.name.tag for info in experiment.metric_infos}
    assert parse_session_end_info_plugin_data(contents["_hparams_/session_end_info"]).status == 1  # success


def test_a_resumed_run_shows_no_epoch_twice(writer: TensorBoardWriter, tmp_path: Path) -> None:
    for epoch in range(3):
        writer.picture("confusion", np.full((4, 4, 3), epoch, np.uint8), epoch)
    time.sleep(1.1)  # TensorBoard reads files in the order of their names, which begin with the second
    resumed = TensorBoardWriter(tmp_path, SETTINGS, 2)
    resumed.picture("confusion", np.zeros((4, 4, 3), np.uint8), 2)
    assert [event.step for event in accumulated(tmp_path).Images("confusion")] == [0, 1, 2]


def test_a_full_disk_is_one_error_that_names_the_file(
    writer: TensorBoardWriter, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limit[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: '.*/events\.out\.tfevents") as caught:
            for epoch in range(3):
                writer.picture("noise", np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8), epoch)
        assert Path(caught.value.filename).parent == tmp_path
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert "Traceback" not in capfd.readouterr().err
