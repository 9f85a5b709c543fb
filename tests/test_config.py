"""Settings: every shipped file loads, layers join in order, and each mistake is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from utils import config
from utils.errors import UserError

SHIPPED = sorted(config.BASE.parent.glob("*.yaml"))


def refusal(*args: object) -> str:
    with pytest.raises(UserError) as caught:
        config.load(*args)
    return str(caught.value)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_file_loads(path: Path) -> None:
    assert config.load([path]).train.epochs >= 1


@pytest.mark.parametrize("path", [p for p in SHIPPED if p != config.BASE], ids=lambda path: path.name)
def test_a_shipped_layer_holds_only_what_differs_from_base(path: Path) -> None:
    base = config.load().model_dump()
    for group, entries in yaml.safe_load(path.read_text()).items():
        for name, value in entries.items():
            assert base[group][name] != value or (group, name) == ("data", "split"), f"{group}.{name} repeats base.yaml"


def test_later_files_win_over_earlier_ones_and_assignments_over_all(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("train: {epochs: 3, batch_size: 2}\n")
    (tmp_path / "b.yaml").write_text("train: {epochs: 4}\n")
    settings = config.load([tmp_path / "a.yaml", tmp_path / "b.yaml"], ["train.batch_size=5"])
    assert (settings.train.epochs, settings.train.batch_size) == (4, 5)


def test_exponents_without_a_point_are_numbers() -> None:
    assert config.load([], ["train.learning_rate=1e-4"]).train.learning_rate == 1e-4


def test_resolved_settings_read_back_to_the_same(tmp_path: Path) -> None:
    settings = config.load([config.BASE.parent / "original.yaml"], ["train.learning_rate=3.3e-05"])
    (tmp_path / "resolved.yaml").write_text(config.to_yaml(settings))
    assert config.load([tmp_path / "resolved.yaml"]) == settings


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("train.epoch=3", "unknown setting 'train.epoch'; did you mean 'train.epochs'"),
        ("trian.epochs=3", "unknown group 'trian'; did you mean 'train'"),
        ("train.epochs=many", "train.epochs is 'many'"),
        ("train.epochs=2.5", "train.epochs is 2.5"),
        ("train.epochs=0", "greater than or equal to 1"),
        ("train.epochs=true", "train.epochs is True"),
        ("model.width=18", "multiple of 4"),
        ("data.normalization=tilted", "'upright' or 'released'"),
        ("eval.thresholds=[0.5,0.1]", "rising order"),
        ("eval.thresholds=[]", "eval.thresholds is []"),
        ("train.learning_rate=.nan", "train.learning_rate is nan"),
        ("refine.start=0", "refine.start: 0 was given"),
        ("train.epochs", "expected GROUP.NAME=VALUE"),
        ("epochs=3", "expected GROUP.NAME=VALUE"),
        ("train.epochs=[", "is not valid YAML"),
    ],
)
def test_a_mistaken_assignment_is_named(assignment: str, said: str) -> None:
    assert said in refusal([], [assignment])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: {epoch: 3}", "unknown setting 'train.epoch'; did you mean 'train.epochs'"),
        ("train: {epochs: 3, epochs: 4}", "the key 'epochs' stands twice"),
        ("- a list", "expected groups of settings"),
        ("train: 3", "expected groups of settings"),
        ("train: {epochs: !!python/object/apply:os.system [exit]}", "is not valid YAML"),
        ("\x00", "is not valid YAML"),
    ],
)
def test_a_mistaken_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    message = refusal([path])
    assert said in message
    assert str(path) in message


def test_a_missing_file_is_named_with_those_that_exist(tmp_path: Path) -> None:
    message = refusal([tmp_path / "nowhere.yaml"])
    assert "nowhere.yaml: cannot be read as a config (No such file" in message
    assert "config/train_split1.yaml" in message


@given(st.text(max_size=80))
def test_no_text_brings_more_than_one_message(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "fuzz.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        config.load([path], [f"train.epochs={text}"])
    except UserError as error:
        assert str(error)
