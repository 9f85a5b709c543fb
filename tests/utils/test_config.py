"""Settings: every shipped file loads, later layers win, and messages name each mistake."""

import math
from datetime import date
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from utils import config
from utils.errors import UserError
from utils.nested import flat
from utils.stored_settings import ADDED, read_stored

SHIPPED = sorted(config.BASE.parent.glob("*.yaml"))


def refusal(*args: object) -> str:
    with pytest.raises(UserError) as caught:
        config.load(*args)
    return str(caught.value)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_file_loads(path: Path) -> None:
    config.load([path])


@pytest.mark.parametrize("path", [p for p in SHIPPED if p != config.BASE], ids=lambda path: path.name)
def test_a_shipped_layer_holds_only_what_differs_from_base(path: Path) -> None:
    base = config.load().model_dump()
    groups = yaml.safe_load(path.read_text())
    groups.pop("layers", None)
    for group, entries in groups.items():
        for name, value in entries.items():
            assert base[group][name] != value or (group, name) == ("data", "split"), f"{group}.{name} repeats base.yaml"


def test_a_new_setting_without_a_default_or_a_type_is_told_where_both_belong() -> None:
    values = config.load().model_dump()
    values["loss"]["new"] = values["loss"].pop("multi_view")
    for source in ({}, {"loss.new": "--set loss.new=3"}):
        with pytest.raises(UserError) as caught:
            config.from_dict(values, source)
        for line in str(caught.value).splitlines():
            assert line.endswith("A setting needs an entry in config/base.yaml and a type in utils/config.py")


def test_settings_that_an_old_file_lacks_are_named_with_one_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ADDED, "loss", ["multi_veiw"])  # misspelt by whoever added it
    values = config.load().model_dump()
    del values["loss"]["multi_view"], values["refine"]["balance"]
    with pytest.raises(UserError) as caught:
        read_stored(values, "old.pt")
    said = str(caught.value)
    assert said.startswith("old.pt: loss.multi_view is missing\n       old.pt: refine.balance is missing. These ")
    assert said.endswith("If you added one to the project, name it in ADDED of utils/stored_settings.py, too")
    assert said.count("ADDED") == 1


def test_released_yaml_switches_each_fault_on_and_nothing_else() -> None:
    base, released = config.load().model_dump(), config.load([config.BASE.parent / "released.yaml"]).model_dump()
    changed = {(group, name): v for group in base for name, v in released[group].items() if v != base[group][name]}
    assert changed == {
        ("data", "normalization"): "released",
        ("data", "overlaps"): "lowest",
        ("data", "gaps"): "removed",
        ("data", "length_counts"): "annotated",
        ("data", "bucketing"): False,
        ("data", "drop_last"): True,
        ("model", "mask_padding"): False,
        ("model", "detach_second_view"): True,
        ("loss", "detach_multi_view"): True,
        ("refine", "mask_absent"): False,
        ("refine", "zero_start"): True,
    }


def test_the_defaults_are_the_papers() -> None:
    values = dict(flat(config.load().model_dump()))
    papers = {
        "train.seed": 5, "train.epochs": 100, "train.batch_size": 8, "train.learning_rate": 1e-3,
        "train.weight_decay": 1e-4, "train.schedule": "constant", "refine.start": 11, "refine.history": 10,
        "loss.mil_when_refining": 0.1, "loss.multi_view": 1.0, "loss.multi_view_share": 0.2, "data.max_frames": 1000,
        "model.width": 64, "model.stride": 8, "model.streams": ["joints"], "model.cosine_scale": 5.0,
        "model.temperatures": [1.0, 2.0, 5.0], "eval.thresholds": [0.03, 0.035, 0.04, 0.045, 0.05],
        "eval.min_video_score": 0.1, "eval.min_length": 3, "eval.outer_share": 0.25, "eval.outer_weight": 0.6,
        "eval.suppression_threshold": 0.2, "eval.tious": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
    }  # fmt: skip
    assert {name: values[name] for name in papers} == papers


def test_later_files_win_over_earlier_ones_and_assignments_over_all(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("train: {epochs: 3, batch_size: 2}\n")
    (tmp_path / "b.yaml").write_text("train: {epochs: 4}\n")
    settings = config.load([tmp_path / "a.yaml", tmp_path / "b.yaml"], ["train.batch_size=5"])
    assert (settings.train.epochs, settings.train.batch_size) == (4, 5)


def test_a_file_wins_over_the_layers_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("train: {epochs: 3, batch_size: 2}\n")
    (tmp_path / "b.yaml").write_text("layers: [a.yaml]\ntrain: {epochs: 4}\n")
    (tmp_path / "c.yaml").write_text("layers: [b.yaml]\n")
    settings = config.load([tmp_path / "c.yaml"])
    assert (settings.train.epochs, settings.train.batch_size) == (4, 2)
    (tmp_path / "a.yaml").write_text("layers: [c.yaml]\n")
    assert "its layers lead back to" in refusal([tmp_path / "c.yaml"])
    (tmp_path / "a.yaml").write_text("layers: c.yaml\n")
    assert "expected file names" in refusal([tmp_path / "c.yaml"])
    (tmp_path / "b.yaml").write_text("layers: [nowhere.yaml]\n")
    assert "b.yaml: its layers name nowhere.yaml, but there is no file" in refusal([tmp_path / "c.yaml"])


def test_a_layer_in_another_folder_is_found_and_a_loop_is_refused_however_it_is_spelled(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "a.yaml").write_text("train: {epochs: 3}\n")
    (tmp_path / "mine" / "b.yaml").write_text("layers: [../a.yaml]\n")
    assert config.load([tmp_path / "mine" / "b.yaml"]).train.epochs == 3
    for layer in (f"../{tmp_path.name}/a.yaml", "./a.yaml", str(tmp_path / "a.yaml")):
        (tmp_path / "a.yaml").write_text(f"layers: [{layer}]\n")
        assert "its layers lead back to" in refusal([tmp_path / "a.yaml"])


def test_best_is_the_same_for_every_split() -> None:
    folder = config.BASE.parent
    for i in (1, 2, 3):
        layered = config.load([folder / f"train_split{i}.yaml", folder / "best.yaml"])
        assert config.load([folder / f"best_split{i}.yaml"]) == layered


def test_exponents_without_a_point_are_numbers() -> None:
    assert config.load([], ["train.learning_rate=1e-4"]).train.learning_rate == 1e-4


def test_resolved_settings_read_back_to_the_same(tmp_path: Path) -> None:
    settings = config.load([config.BASE.parent / "released.yaml"], ["train.learning_rate=3.3e-05"])
    (tmp_path / "resolved.yaml").write_text(config.to_yaml(settings))
    assert config.load([tmp_path / "resolved.yaml"]) == settings


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("train.epoch=3", "unknown setting 'train.epoch'; did you mean 'train.epochs'"),
        ("data.bucket_noise=0.1", "data.bucket_noise is now data.bucket_mix"),
        ("data.workers=0", "data.workers is no longer a setting: a thread of the main process loads the clips. Remove"),
        ("trian.epochs=3", "unknown group 'trian'; did you mean 'train'"),
        ("train.epochs=many", "train.epochs is 'many'"),
        ("train.epochs=2.5", "train.epochs is 2.5"),
        ("train.epochs=0", "greater than or equal to 1"),
        ("train.epochs=true", "train.epochs is True"),
        ("model.width=18", "multiple of 4"),
        ("refine.neighbours=2", "refine.neighbours: it is 2, but clips are not cut into pieces"),
        ("data.normalization=tilted", "'upright' or 'released'"),
        ("train.precision=float16", "'float32', 'bfloat16' or 'float64'"),
        ("eval.thresholds=[0.5,0.1]", "rising order"),
        ("eval.thresholds=[]", "eval.thresholds is []"),
        ("train.learning_rate=.nan", "train.learning_rate is nan"),
        ("refine.start=0", "refine.start is 0, expected greater than or equal to 1"),
        ("refine.history=0xfffffffffffffffff", "refine.history is 295147905179352825855, expected less than or equal"),
        pytest.param(f"train.seed=0x{'f' * 5000}", "train.seed is a int that is too long to show", id="a long number"),
        ("data.root=''", "data.root is '': String should have at least 1 character"),
        ("data.holdout=1.0", "data.holdout is 1.0, expected less than 1"),
        ("model.width=4096", "model.width is 4096, expected less than or equal to 1024"),
        (
            "model.temperatures=[2.0,2.0]",
            "model.temperatures: expected different numbers in rising order, found [2.0, 2.0]",
        ),
        ("model.streams=[bones,bones]", "model.streams: expected different values, found ['bones', 'bones']"),
        ("model.temperatures=[0.0]", "model.temperatures.0 is 0.0, expected greater than 0"),
        ("eval.tious=[0.0,0.5]", "eval.tious.0 is 0.0, expected greater than 0"),
        ("eval.tious=[0.5,.nan]", "eval.tious.1 is nan, expected less than or equal to 1"),
        ("eval.thresholds=[0.5,0.5]", "expected different numbers in rising order"),
        ("eval.thresholds=[1.0]", "eval.thresholds.0 is 1.0, expected less than 1"),
        ("eval.outer_share=.inf", "eval.outer_share is inf, expected"),
        ("train.learning_rate=1e300", "train.learning_rate is 1e+300, expected less than or equal to 1000000"),
        ("loss.multi_view_share=0", "loss.multi_view_share is 0, expected greater than 0"),
        ("train.seed=010", "is not valid YAML: 010 would be read as 8; write text in quotes"),
        ("train.timeout=1:30", "is not valid YAML: 1:30 would be read as 90; write text in quotes"),
        ("train.epochs=? [a]", "is not valid YAML: unhashable type: 'list'"),
        ("train.epochs=!!int ''", "is not valid YAML: string index out of range"),
        ("train.epochs=!!timestamp x", "is not valid YAML"),
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
        ("- a list", "it is ['a list']; expected groups of settings"),
        ("train: 3", "'train' is 3; expected groups of settings, as in 'train: {epochs: 20}'"),
        ("train: {epochs: !!python/object/apply:os.system [exit]}", "is not valid YAML"),
        ("\x00", "is not valid YAML"),
        ("[" * 5000, "is not valid YAML"),
        ("{}: {}", "is not valid YAML"),
        ("train: {[1]: 3}", "is not valid YAML: unhashable"),
        ("? !!binary aGVsbG8=\n: {a: 1}", "unknown group b'hello'"),
        ("train: {epochs: !!python/name:os.system }", "is not valid YAML: could not determine a constructor"),
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
    assert "nowhere.yaml: cannot be read (No such file" in message
    assert "config/train_split1.yaml" in message


@settings(deadline=None)  # the machine may be busy
@given(st.text(max_size=80))
def test_no_text_brings_more_than_one_message(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "fuzz.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        config.load([path], [f"train.epochs={text}"])
    except UserError as error:
        assert str(error)


DEFAULTS = config.load().model_dump()
KEYS = [f"{group}.{name}" for group, entries in DEFAULTS.items() for name in entries]
NEVER = [None, {}, [], [[]], ["x"], math.nan, math.inf, -math.inf, 1e300, -1, 2**160, date(2001, 1, 1), b"x"]


def with_value(key: str, value: object) -> dict[str, dict[str, object]]:
    group, name = key.split(".")
    return {**DEFAULTS, group: {**DEFAULTS[group], name: value}}


@pytest.mark.parametrize("key", KEYS)
def test_no_setting_takes_what_it_cannot_be(key: str) -> None:
    for value in NEVER if key in ("data.root", "data.split") else [*NEVER, "../x"]:
        reason = r"(\.\d)?(: expected different| is .*(, expected|: (Input|List|Unable)))"
        with pytest.raises(UserError, match=rf"^x\.pt: {key}{reason}"):
            config.from_dict(with_value(key, value), origin="x.pt")


def test_every_mistake_is_named_at_once_but_not_a_thousand() -> None:
    message = refusal([], ["train.epochs=0", "model.width=3"])
    assert "--set train.epochs=0: train.epochs is 0" in message
    assert "--set model.width=3: model.width is 3" in message
    with pytest.raises(UserError) as caught:
        config.from_dict(dict.fromkeys(map(str, range(1000)), 1), origin="x.pt")
    assert str(caught.value).count("x.pt: ") == 12


def test_a_pseudo_label_start_beyond_the_last_epoch_means_never() -> None:
    assert config.load([], ["refine.start=500", "train.epochs=3"]).refine.start == 500


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    assert "x.yaml: is not UTF-8 text; expected a config file" in refusal([tmp_path / "x.yaml"])


def test_a_file_that_nests_a_billion_texts_takes_no_memory(tmp_path: Path) -> None:
    lines = ["a0: &a0 {x: [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]}"]
    lines += [f"a{i}: &a{i} {{x: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 12)]
    (tmp_path / "x.yaml").write_text("\n".join([*lines, "train: {epochs: *a11}"]))
    assert "unknown group 'a0'" in refusal([tmp_path / "x.yaml"])
    nested = "[lol]"
    for i in range(30):
        nested = f"[&b{i} {nested}, *b{i}, *b{i}]"
    message = refusal([], [f"train.epochs={nested}"])
    assert len(message) < len(nested) + 1000
    merged = "a: &a {k: v}\n" + "\n".join(f"a{i}: &a{i} {{<<: [*a, *a]}}" for i in range(3))
    (tmp_path / "x.yaml").write_text(merged)
    assert "is not valid YAML: could not determine a constructor for the tag 'tag:yaml.org,2002:merge'" in refusal(
        [tmp_path / "x.yaml"]
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=8), part, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)  # the machine may be busy
@given(key=st.sampled_from(KEYS), value=JSON)
def test_any_value_of_a_setting_is_refused_by_name_or_kept(key: str, value: object) -> None:
    group, name = key.split(".")
    try:
        kept = config.from_dict(with_value(key, value), origin="x.pt").model_dump()[group][name]
    except UserError as error:
        assert f"x.pt: {key}" in str(error)
        assert len(str(error)) < 2000
    else:
        assert kept == value


@settings(deadline=None)  # the machine may be busy
@given(values=st.dictionaries(st.sampled_from(["data", "model", "train", "eval", "x"]), JSON, max_size=4))
def test_any_yaml_brings_at_most_one_message(tmp_path_factory: pytest.TempPathFactory, values: dict) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "fuzz.yaml"
    path.write_text(yaml.safe_dump(values))
    try:
        config.load([path])
    except UserError as error:
        assert str(path) in str(error)
