"""One page of HTML that needs nothing beside it: no network, no script, pictures within.

A page is a title and sections; what goes into a section is made here, and everything that is not made here is escaped:
names of classes and clips come from strangers' files.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape as escape_html

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --faint: #5f6368; --line: #d8dadd; --tint: #f4f5f7;
  --link: #0072b2; --warn: #fdf3e1; --edge: #e69f00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --paper: #17181a; --faint: #a0a4a8; --line: #3a3d41;
  --tint: #222427; --link: #6cb8e6; --warn: #3a2e14; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 66rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.25rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p { margin: .5rem 0; max-width: 46rem; }
.lead, .note, figcaption, caption { color: var(--faint); }
.note { font-size: .9rem; }
.warning { background: var(--warn); border-left: 4px solid var(--edge); padding: .5rem .75rem; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; margin: 1rem 0 0; font-size: .9rem; }
a { color: var(--link); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .75rem 0; font-size: .92rem; overflow-wrap: normal; }
caption { text-align: left; padding-bottom: .25rem; }
th, td { padding: .25rem .8rem .25rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
th.number, td.number { text-align: right; padding: .25rem 0 .25rem .8rem; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
th.number + th:not(.number), td.number + td:not(.number) { padding-left: 1.2rem; }
th:first-child:not(.number) { min-width: 9rem; }
th:last-child:not(.number) { min-width: 14rem; }
figure { margin: 1rem 0; }
figure img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
figcaption { font-size: .9rem; margin-top: .3rem; }
@media (max-width: 44rem) { figure { overflow-x: auto; } figure img { max-width: 44rem; } }
pre, code { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: .88rem; }
pre { background: var(--tint); padding: .75rem; overflow-x: auto; border-radius: 4px; }
.tiles { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0; padding: 0; list-style: none; }
.tiles li { background: var(--tint); border-radius: 6px; padding: .6rem 1rem; min-width: 8rem; }
.tiles b { display: block; font-size: 1.35rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
@media print { :root { --ink: #000; --paper: #fff; --faint: #444; --line: #bbb; --tint: #f4f4f4; --link: #000;
  --warn: #fff; } body { padding: 0; max-width: none; font-size: 11pt; } nav { display: none; }
  figure, tr, .tiles li { break-inside: avoid; } h2, h3 { break-after: avoid; } }
"""


@dataclass(frozen=True)
class Section:
    """A part of a page: its heading, as plain text, and its content, as HTML made by this module's functions."""

    heading: str
    content: str


def page(title: str, sections: Sequence[Section], lead: str = "") -> str:
    """The whole page, with a list of its sections below title and `lead` (plain text)."""
    links = "".join(f'<a href="#part{n}">{escape(part.heading)}</a>' for n, part in enumerate(sections, 1))
    parts = "\n".join(
        f'<section id="part{n}">\n<h2>{escape(part.heading)}</h2>\n{part.content}\n</section>'
        for n, part in enumerate(sections, 1)
    )
    below = f'<p class="lead">{escape(lead)}</p>' if lead else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
{below}
<nav>{links}</nav>
</header>
<main>
{parts}
</main>
</body>
</html>
"""


def text_html(text: str, kind: str = "") -> str:
    """A paragraph of plain text; `kind` is nothing, "note" or "warning"."""
    return f'<p class="{escape(kind)}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def heading_html(text: str) -> str:
    """A heading within a section."""
    return f"<h3>{escape(text)}</h3>"


def code_html(text: str) -> str:
    """Text as it is, in a fixed width: commands, settings."""
    return f"<pre>{escape(text)}</pre>"


def tiles_html(facts: Iterable[tuple[str, str]]) -> str:
    """The few figures to see first, as (what, value)."""
    return f'<ul class="tiles">{"".join(f"<li><b>{escape(v)}</b>{escape(k)}</li>" for k, v in facts)}</ul>'


def table_html(head: Sequence[str], rows: Iterable[Sequence[str | int | float | None]], caption: str = "") -> str:
    """A table; whole numbers get thousands separators, floats one decimal (give a text for others), None is "–".

    A column is set to the right where its first cell that is not None is a number.
    """
    rows = [list(row) for row in rows]
    columns = [[row[n] for row in rows if row[n] is not None] for n in range(len(head))]
    right = [bool(column) and isinstance(column[0], int | float) for column in columns]
    kinds = [' class="number"' if numeric else "" for numeric in right]
    top = "".join(f'<th scope="col"{kind}>{escape(cell)}</th>' for cell, kind in zip(head, kinds, strict=True))
    body = "\n".join(
        f"<tr>{''.join(f'<td{kind}>{_cell(cell)}</td>' for cell, kind in zip(row, kinds, strict=True))}</tr>"
        for row in rows
    )
    named = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="scroll"><table>{named}<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def figure_html(picture: Figure | np.ndarray | bytes, alt: str, caption: str = "") -> str:
    """A picture within the page, as PNG: a figure, an array (H, W, 3) uint8 or the content of a PNG file.

    `alt` says in words what is to be seen.
    """
    content = base64.b64encode(_png(picture)).decode("ascii")
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img src="data:image/png;base64,{content}" alt="{escape(alt)}">{below}</figure>'


def escape(text: str) -> str:
    """Any text as HTML that shows it; what cannot be printed is shown as a replacement character."""
    marks = (c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
    return escape_html("".join(marks))


def _png(picture: Figure | np.ndarray | bytes) -> bytes:
    if isinstance(picture, bytes):
        return picture
    buffer = io.BytesIO()
    if isinstance(picture, Figure):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # of a script that the font has not: drawn as a box
            picture.savefig(buffer, format="png", metadata={"Software": None})
    else:
        Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _cell(value: str | int | float | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else escape(value)
