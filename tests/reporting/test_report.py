"""The report shows the right figures, needs no other file, and works in a browser."""

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.diagnosis import diagnose
from evaluation.localization import CORRECTED, PROTOCOLS, Detections, ground_truth
from evaluation.protocols import ClipResult, Evaluation, evaluate
from reporting import player, templates
from reporting.report import clip_ap, report_html
from reporting.templates import policy_digest
from tests.reporting.test_player import player_of
from tests.reporting.test_skeleton_view import star
from tests.reporting.test_templates import assert_all_sections_are_linked, in_browser, read
from utils import config

SETTINGS = config.load()
HOSTILE = "<script>document.title='run'</script>&amp;$\\frac$\""
HISTORY = [{"epoch": n, "loss": {"total": 2 - n / 9}, "corrected": {"mAP": 5.0 * n}} for n in range(9)]


def clips(count: int = 8, classes: int = 3, frames: int = 120) -> list[ClipResult]:
    """Clips with frame probabilities that are better for later clips."""
    rng = np.random.default_rng(0)
    made = []
    for n in range(count):
        labels = np.repeat(rng.random((4, classes)) < 0.4, frames // 4, axis=0)
        labels[:10, n % classes] = True
        truth = np.concatenate([labels, ~labels.any(axis=1, keepdims=True)], axis=1).astype(float)
        noise = rng.dirichlet(np.ones(classes + 1), 4).repeat(frames // 4, axis=0)
        probs = truth / truth.sum(axis=1, keepdims=True) * n / count + noise * (1 - n / count)
        made.append(ClipResult(f"clip{n}", probs, probs.max(axis=0), labels))
    return made


def written(
    given: list[ClipResult], classes: tuple[str, ...] = ("walk", "turn", "wave"), history: Any = HISTORY, **changes: Any
) -> str:
    corrected, released = (evaluate(given, classes, SETTINGS.eval, protocol) for protocol in PROTOCOLS)
    settings = SETTINGS.model_dump()
    settings["model"] = {**settings["model"], "width": 16, "mask_padding": False, "temperatures": [1.0, 3.0]}
    results = {
        "split": "mine",
        "store": "0123abcd",
        "settings": settings,
        "commit": "c0ffee",
        "versions": {"python": "3.11", "torch": "2.13"},
        "machine": "Linux, 2 cores",
        "accelerator": None,
        **changes,
    }
    diagnosis = diagnose(corrected.detections, ground_truth([clip.labels for clip in given]), classes)

    return report_html(results, corrected, released, given, diagnosis, history, lambda _: joints(len(given[0].labels)))


def joints(frames: int) -> np.ndarray:
    return np.repeat(star()[None], frames, axis=0)


@pytest.fixture()
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages whose figures are not drawn."""
    monkeypatch.setattr(templates, "png", lambda _: b"")


@pytest.fixture(scope="module")
def whole() -> str:
    """A page with all its pictures, in which every name is hostile."""
    given = [clip._replace(name=f"{HOSTILE}{n}") for n, clip in enumerate(clips())]
    return written(given, (HOSTILE, "turn", "wave"), split=HOSTILE, weights=HOSTILE)


def rows(html: str) -> dict[str, list[list[str]]]:
    """The rows of all tables by their first cell."""
    found: dict[str, list[list[str]]] = {}
    for row in re.findall(r"<tr>(.*?)</tr>", html):
        first, *rest = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row)
        found.setdefault(first, []).append(rest)
    return found


@pytest.mark.usefixtures("quick")
def test_scores_are_those_of_both_evaluations_and_of_the_whole_clip_baseline() -> None:
    given = clips()
    table = rows(written(given))
    for protocol in PROTOCOLS:
        evaluation = evaluate(given, ("walk", "turn", "wave"), SETTINGS.eval, protocol)
        expected = [*evaluation.map_at, evaluation.average_map]
        assert table[f"model, {protocol.name}"][0] == [f"{value:.1f}" for value in expected]
        whole = [*evaluation.whole_clip_map_at, evaluation.whole_clip_map_at.mean()]
        assert table[f"whole-clip baseline, {protocol.name}"][0] == [f"{value:.1f}" for value in whole]
        others = [evaluation.classification_map, evaluation.frame_accuracy, *evaluation.f1_at.values()]
        assert table[f"model, {protocol.name}"][1] == [f"{value:.1f}" for value in others]


@pytest.mark.usefixtures("quick")
def test_only_settings_that_differ_from_the_defaults_are_listed() -> None:
    table = rows(written(clips()))
    assert table["model.width"] == [["16", "64"]]
    assert table["model.mask_padding"] == [["false", "true"]]
    assert table["model.temperatures"] == [["1.0, 3.0", "1.0, 2.0, 5.0"]]
    assert "train.seed" not in table
    assert "All settings are those of config/base.yaml." in written(clips(), settings=SETTINGS.model_dump())


@pytest.mark.usefixtures("quick")
def test_it_names_the_origin_of_the_model_and_the_best_epoch() -> None:
    oracle = {"epoch": 7, "corrected": {"mAP": 43.21}}
    html = written(clips(), weights="work_dir/x/best.pt", oracle_epoch=oracle)
    assert rows(html)["weights"] == [["work_dir/x/best.pt"]]
    assert rows(html)["commit"] == [["c0ffee"]]
    assert "The best validation epoch was 7, with an average mAP of 43.2" in " ".join(html.split())


@pytest.mark.usefixtures("quick")
def test_training_curves_are_shown_if_the_training_is_known() -> None:
    for history in (HISTORY, []):
        html = written(clips(), history=history)
        assert ("<h2>Training</h2>" in html) == bool(history)
        assert_all_sections_are_linked(html)


@pytest.mark.usefixtures("quick")
def test_every_clip_is_in_the_player_with_its_ap_and_its_detections() -> None:
    given = clips()
    evaluation = evaluate(given, ("walk", "turn", "wave"), SETTINGS.eval, CORRECTED)
    shown = player_of(written(given))
    assert [clip["name"] for clip in shown["clips"]] == [clip.name for clip in given]
    assert [clip["ap"][0] for clip in shown["clips"]] == pytest.approx(clip_ap(evaluation))
    assert [len(clip["found"][0]) for clip in shown["clips"]] == np.bincount(evaluation.detections.clip).tolist()
    assert [len(clip["truth"]) for clip in shown["clips"]] == np.bincount(evaluation.truth.clip).tolist()
    assert shown["thresholds"] == sorted(SETTINGS.eval.thresholds)


@pytest.mark.usefixtures("quick")
def test_a_page_that_would_be_too_large_shows_the_best_and_worst_clips_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(player, "EXTREMES", 1)
    monkeypatch.setattr(player, "PAGE_BYTES", 5_000)
    given = clips()
    ap = clip_ap(evaluate(given, ("walk", "turn", "wave"), SETTINGS.eval, CORRECTED))
    html = written(given)
    shown = [clip["name"] for clip in player_of(html)["clips"]]
    assert {f"clip{ap.argmax()}", f"clip{ap.argmin()}"} <= set(shown)
    assert 2 <= len(shown) < len(given)
    assert f"{len(shown)} of the {len(given)} clips are shown" in html


def scored(*rows: tuple[int, int, int, int, float], truth: Detections) -> np.ndarray:
    clip, label, start, end, scores = np.array(rows, float).T
    found = Detections.of(clip, label, np.stack([start, end], axis=1), scores)
    none = np.full((1, 2), np.nan)
    given = Evaluation("corrected", ("a", "b"), (0.5,), none, none[0], none, none, none, found, ["x", "y", "z"], truth)
    return clip_ap(given)


def test_the_ap_of_a_clip_ranks_its_detections_of_all_classes_together() -> None:
    truth = Detections.of([0, 0, 1], [0, 1, 0], [[0, 10], [20, 30], [0, 10]], 1.0)
    right = [(0, 0, 0, 10, 0.9), (0, 1, 20, 30, 0.5)]
    np.testing.assert_allclose(scored(*right, truth=truth), [100, 0, np.nan])
    of_another_class = (0, 1, 0, 10, 0.7)  # between the two: precision 1, then 2/3
    np.testing.assert_allclose(scored(*right, of_another_class, truth=truth), [100 * (1 + 2 / 3) / 2, 0, np.nan])
    of_another_clip = (1, 1, 20, 30, 0.7)
    np.testing.assert_allclose(scored(*right, of_another_clip, truth=truth), [100, 0, np.nan])


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_clips_are_enough(count: int) -> None:
    html = written(clips(count), history=HISTORY[:1])
    assert len(player_of(html)["clips"]) == count


def test_hostile_names_stay_text_and_the_page_loads_nothing(whole: str) -> None:
    reader = read(whole)
    scripts = [attributes.get("type") for element, attributes in reader.elements if element == "script"]
    assert scripts == ["application/json", None]  # the player's data, and the player
    policy = next(
        attributes["content"]
        for element, attributes in reader.elements
        if element == "meta" and "http-equiv" in attributes
    )
    assert policy_digest(whole.split("<script>")[1].split("</script>")[0]) in policy
    assert HOSTILE in reader.texts
    sources = [attributes["src"] for element, attributes in reader.elements if element == "img"]
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"https?://", re.sub(r'"data:[^"]*"', "", whole))


MEASURE = """<script>addEventListener("load", () => {
  const images = [...document.images].filter(image => image.naturalWidth > 100).length;
  const wide = [...document.querySelectorAll(".scroll")].filter(part => part.scrollWidth > part.clientWidth).length;
  const over = document.documentElement.scrollWidth - innerWidth;
  document.title = `${images} pictures, ${wide} scroll, ${over} over`;
});</script></body>"""


def test_a_browser_shows_every_picture_and_only_tables_scroll_in_a_narrow_window(whole: str, tmp_path: Path) -> None:
    html = re.sub(
        r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", whole
    )  # it would block the script of this test
    path = tmp_path / "report.html"
    path.write_text(html.replace("</body>", MEASURE), encoding="utf-8")
    seen = in_browser(path, tmp_path / "profile", "--window-size=500,900", "--virtual-time-budget=5000")
    pictures, wide, over = map(int, re.search(r"<title>(\d+) pictures, (\d+) scroll, (-?\d+) over", seen).groups())
    assert pictures == 3
    assert wide >= 2
    assert over <= 0


@pytest.mark.slow
def test_a_report_on_two_thousand_clips_of_twenty_classes_takes_seconds() -> None:
    given = clips(2000, 20, 400)
    classes = tuple(f"class {k}" for k in range(20))
    began = time.process_time()
    html = written(given, classes)
    assert time.process_time() - began < 60  # both evaluations are within
    assert len(html) < 20_000_000
