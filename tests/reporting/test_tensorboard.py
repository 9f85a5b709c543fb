"""What TensorBoard is given, read back by its own readers."""

from __future__ import annotations

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

from reporting.tensorboard import Board
from utils import config

SETTINGS = config.load([], ["model.width=16", "model.mask_padding=false"])


@pytest.fixture()
def board(tmp_path: Path) -> Board:
    return Board(tmp_path, SETTINGS, 0)


def accumulated(board: Board) -> EventAccumulator:
    return EventAccumulator(str(board.path.parent), size_guidance={"images": 0, "histograms": 0, "tensors": 0}).Reload()


def test_numbers_of_a_row_become_curves_named_by_their_keys(board: Board) -> None:
    board.scalars({"epoch": 3, "loss": {"total": 0.5}, "note": "a text"})
    found = accumulated(board)
    assert found.Tags()["scalars"] == ["loss/total"]
    assert [(event.step, event.value) for event in found.Scalars("loss/total")] == [(3, 0.5)]
    assert "loss" in found.SummaryMetadata("loss/total").summary_description


def test_a_distribution_counts_every_value_in_its_place(board: Board) -> None:
    board.distribution("confidence", np.array([0.01, 0.49, 0.51, 0.51, 1.0], np.float32), 2)
    board.distribution("nothing", np.array([]), 2)
    (event,) = accumulated(board).Histograms("confidence")
    histogram = event.histogram_value
    assert (event.step, histogram.num, histogram.min, histogram.max) == (2, 5, pytest.approx(0.01), 1)
    counts = dict(zip(np.round(histogram.bucket_limit, 3), histogram.bucket, strict=True))
    assert {limit: count for limit, count in counts.items() if count} == {0.025: 1, 0.5: 1, 0.525: 2, 1.0: 1}
    assert "nothing" not in accumulated(board).Tags()["histograms"]


def test_precision_and_recall_are_those_at_each_threshold(board: Board) -> None:
    labels, probs = np.array([True, False, True, False]), np.array([0.9, 0.6, 0.4, 0.1])
    board.precision_recall("precision_recall/walk", labels, probs, 4)
    found = accumulated(board)
    (event,) = found.Tensors("precision_recall/walk")
    metadata = found.SummaryMetadata("precision_recall/walk")
    assert metadata.plugin_data.plugin_name == "pr_curves"
    thresholds = np.linspace(0, 1, parse_plugin_metadata(metadata.plugin_data.content).num_thresholds)
    figures = np.array(event.tensor_proto.float_val).reshape(6, -1)
    for threshold, precision, recall in ((0.05, 0.5, 1), (0.5, 0.5, 0.5), (0.7, 1, 0.5)):
        at = int(np.searchsorted(thresholds, threshold))
        assert figures[4:, at] == pytest.approx([precision, recall])
    assert event.step == 4


def test_settings_stand_beside_the_figures_that_they_are_compared_by(board: Board) -> None:
    board.close()
    found = accumulated(board)
    contents = {tag: found.SummaryMetadata(tag).plugin_data.content for tag in found.PluginTagToContent("hparams")}
    given = parse_session_start_info_plugin_data(contents["_hparams_/session_start_info"]).hparams
    assert given["model.width"].number_value == 16
    assert given["model.mask_padding"].string_value == "false"
    assert given["data.normalization"].string_value == "upright"
    assert "data.root" not in given
    first = parse_experiment_plugin_data(contents["_hparams_/experiment"]).hparam_infos
    assert {info.name for info in first if info.differs} == {"model.width", "model.mask_padding"}
    assert parse_session_end_info_plugin_data(contents["_hparams_/session_end_info"]).status == 1  # success


def test_what_an_interrupted_run_showed_of_the_epoch_that_comes_again_is_struck_out(board: Board) -> None:
    for epoch in range(3):
        board.picture("confusion", np.full((4, 4, 3), epoch, np.uint8), epoch)
    again = Board(board.path.parent, SETTINGS, 2)
    again.picture("confusion", np.zeros((4, 4, 3), np.uint8), 2)
    assert [event.step for event in accumulated(again).Images("confusion")] == [0, 1, 2]
