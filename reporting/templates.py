"""HTML pages from the Jinja2 templates in `templates/`.

A page is one file: its pictures are embedded, and it loads nothing. Its content security policy names the digests of
its own style and script, so that nothing else can run. Names of classes and clips come from untrusted files, so every
value is escaped, and characters that cannot be printed become replacement characters.
"""

import base64
import hashlib
from collections.abc import Sequence
from numbers import Integral, Number, Real
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from reporting.style import png


def render(template: str, **values: Any) -> str:
    """Fill a template. Raises jinja2.UndefinedError when a value that it needs is missing."""
    return ENVIRONMENT.get_template(template).render(values)


def format_cell(value: Any) -> str:
    """A value as pages show it: whole numbers with thousands separators, others with one decimal, "–" for none."""
    if hasattr(value, "__html__"):  # HTML from a macro
        return value
    if value is None or value != value:  # only NaN differs from itself
        return "–"
    if isinstance(value, Integral):
        return f"{int(value):,}"
    if isinstance(value, Real):
        return f"{value:,.1f}"
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in str(value))


def number_columns(rows: Sequence[Sequence[Any]]) -> list[bool]:
    """Whether each column of a table holds numbers."""
    return [any(isinstance(cell, Number) for cell in column) for column in zip(*rows, strict=True)]


def data_uri(figure: Figure) -> str:
    """A figure as a data URI: a PNG that is embedded in the page."""
    return "data:image/png;base64," + base64.b64encode(png(figure)).decode("ascii")


def policy_digest(text: str) -> str:
    """The SHA-256 of a style or script, as a content security policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=format_cell,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,  # or the last line of one script would continue in the next
)
ENVIRONMENT.filters |= {"number_columns": number_columns, "data_uri": data_uri, "digest": policy_digest}
