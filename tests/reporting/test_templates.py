"""HTML pages need no other file, and any text comes out as text."""

import base64
import io
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError
from matplotlib.figure import Figure
from PIL import Image

from reporting.player import player_data
from reporting.style import as_image
from reporting.templates import ENVIRONMENT, policy_digest, render

EMPTY = {"meta", "img", "br", "input"}  # elements without an end tag
HOSTILE = "</title></style><img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>&amp;'\""
PAGE = """{% extends "page.html" %}
{% block title %}{{ text }}{% endblock %}
{% block lead %}{{ text }}{% endblock %}
{% from "macros.html" import figure, links, table, tiles %}
{% block nav %}{{ links([text]) }}{% endblock %}
{% block main %}
{{ tiles([(text, text)]) }}
{{ table([text, "n"], [[text, 1], [text, none]], text) }}
{{ figure(image, text, text) }}
{% include "player_part.html" %}
{% endblock %}"""
NOISE = Figure(figsize=(0.07, 0.05), dpi=100)
NOISE.figimage(np.random.default_rng(0).integers(0, 255, (5, 7, 3), np.uint8))


class Reader(HTMLParser):
    """Reads the texts and elements of a page, and checks that every element is closed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def everything(text: str) -> str:
    """A page with `text` in every place that takes one."""
    return ENVIRONMENT.from_string(PAGE).render(text=text, image=NOISE, player=player_data([], [text], [text]))


@given(text=st.text(min_size=1, max_size=60))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_any_text_comes_out_as_text(text: str) -> None:
    html = everything(text)
    html.encode()
    reader = read(html)
    assert [element for element, _ in reader.elements] == [element for element, _ in read(everything("x")).elements]
    plain = "".join(c for c in text if c.isprintable())
    alternative = next(attributes["alt"] for element, attributes in reader.elements if element == "img")
    assert "".join(c for c in alternative if c.isprintable() and c != "\ufffd") == plain.replace("\ufffd", "")


def test_a_page_asks_for_nothing_beside_itself_and_runs_only_its_own_script() -> None:
    reader = read(everything(HOSTILE))
    names = {name for _, attributes in reader.elements for name in attributes}
    assert not {name for name in names if name.startswith("on")}
    assert [attributes for element, attributes in reader.elements if element == "script"] == [
        {"type": "application/json", "id": "player-data"},
        {},
    ]
    assert not {"link", "iframe", "object", "base"} & {element for element, _ in reader.elements}
    places = [a[key] for _, a in reader.elements for key in ("src", "href") if key in a]
    assert all(place.startswith(("data:image/png;base64,", "#")) for place in places)
    policy = next(a["content"] for e, a in reader.elements if e == "meta" and "http-equiv" in a)
    html = everything("")
    style, script = (re.search(rf"<{name}>(.*?)</{name}>", html, re.DOTALL)[1] for name in ("style", "script"))
    assert policy == (
        f"default-src 'none'; img-src data:; style-src '{policy_digest(style)}'; "
        f"script-src '{policy_digest(script)}'; base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"url\(|@import", html)


def assert_all_sections_are_linked(html: str) -> None:
    reader = read(html)
    links = [a["href"] for element, a in reader.elements if element == "a"]
    assert links == [f"#{a['id']}" for element, a in reader.elements if element == "section"]
    assert len(links) > 5


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'results' is undefined"):
        render("report.html")


def test_the_digest_is_that_of_the_standard() -> None:
    # The example of https://www.w3.org/TR/CSP3/#framework-directive-source-list, "sha256" of alert('Hello, world.');
    assert policy_digest("alert('Hello, world.');") == "sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng="


def macro(call: str, **values: object) -> str:
    imports = '{% from "macros.html" import figure, table %}'
    return ENVIRONMENT.from_string(f"{imports}{{{{ {call} }}}}").render(**values)


def test_a_table_aligns_numbers_to_the_right_and_marks_missing_ones() -> None:
    rows = [["walk", np.int64(12345), 1.25], ["wave", None, np.nan]]
    html = macro("table(head, rows)", head=["class", "frames", "share"], rows=rows)
    assert re.findall(r"<td[^>]*>[^<]*</td>", html) == [
        "<td>walk</td>",
        '<td class="number">12,345</td>',
        '<td class="number">1.2</td>',
        "<td>wave</td>",
        '<td class="number">–</td>',
        '<td class="number">–</td>',
    ]
    assert read(macro("table(['a'], [])")).elements


def test_pictures_lie_within_the_page() -> None:
    assert np.array_equal(decoded(macro("figure(image, 'noise')", image=NOISE))[..., :3], as_image(NOISE))
    line = Figure(figsize=(2, 1), dpi=50)
    line.subplots().plot([0, 1])
    assert decoded(macro("figure(image, 'a line')", image=line)).shape[:2] == (50, 100)


def decoded(html: str) -> np.ndarray:
    source = next(a["src"] for element, a in read(html).elements if element == "img")
    with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as image:
        return np.asarray(image)


def test_a_figure_gives_the_same_page_each_time() -> None:
    pages = {macro("figure(image, 'empty')", image=Figure(figsize=(2, 1))) for _ in range(2)}
    assert len(pages) == 1


def in_browser(path: Path, profile: Path, *more: str) -> str:
    """The page as a browser reads it, after it has run any scripts. `more` are options of the browser."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    arguments = [CHROMIUM, *options, *more, f"--user-data-dir={profile}", "--dump-dom", path.as_uri()]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=True).stdout


def test_a_browser_shows_the_page_and_runs_no_script_of_a_text(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(everything(HOSTILE), encoding="utf-8")
    seen = read(in_browser(path, tmp_path / "profile"))
    title = seen.texts[[element for element, _ in seen.elements].index("title")]
    assert HOSTILE in "".join(seen.texts)
    assert title != "run"
    assert [a["src"][:10] for element, a in seen.elements if element == "img"] == ["data:image"]
