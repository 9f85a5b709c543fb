"""How a command begins: its arguments are checked before the imports that take seconds, such as torch."""

import argparse
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from utils.errors import one_message


def argument_parser(doc: str, prog: str | None = None) -> argparse.ArgumentParser:
    """A parser whose help is the command's docstring. Options have to be written in full."""
    raw = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(prog, description=doc, formatter_class=raw, allow_abbrev=False)


def number(least: float, most: float = math.inf) -> Callable[[str], float]:
    """The type of an option: numbers from `least` to `most`, only whole ones if `least` is an int."""

    def parse(text: str) -> float:
        value = type(least)(text)
        if least <= value <= most:
            return value
        expected = f"{least:g} or more" if most == math.inf else f"{least:g} to {most:.7g}"
        raise argparse.ArgumentTypeError(f"{text}: expected {expected}")

    parse.__name__ = type(least).__name__  # for argparse's message about text that is no such number
    return parse


def folder(text: str) -> Path:
    """The path in an option that names a folder, which need not exist yet."""
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: expected a folder, this is a file")
    return path


def new_file(text: str) -> Path:
    """The path in an option that names a file to write."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: expected a file, this is a folder")
    return path


def check_first(parse: Callable[..., Any], *arguments: Any) -> None:
    """Report a mistake in the command line now. A command calls this before its slow imports; its `main` parses again.

    Does nothing under torchrun: each rank would report, but `main` lets only the main rank do so.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return
    with one_message():
        parse(*arguments)
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports prints nothing; see `run_command`
