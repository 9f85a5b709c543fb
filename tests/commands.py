"""The project's commands, their argument parsers and their exit status, for tests at the command line."""

import argparse
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from utils.errors import run_command

ROOT = Path(__file__).parents[1]
FOLDERS = ("prepare", "feeders", "model", "evaluation", "reporting", "utils", "benchmarks", "docs", "tests")
SOURCES = sorted({*ROOT.glob("*.py"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))})
COMMANDS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in SOURCES
    if not path.name.startswith("test_") and '\nif __name__ == "__main__":' in path.read_text(encoding="utf-8")
)


class ParserReachedError(Exception):
    """The command has reached its parser."""


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser that a command's `main` builds, taken at the moment when it would parse."""
    name = command.removesuffix(".py").replace("/", ".")
    module = sys.modules.get(name)
    found: list[argparse.ArgumentParser] = []

    def stop(self: argparse.ArgumentParser, *_: object) -> None:
        found.append(self)
        raise ParserReachedError

    with pytest.MonkeyPatch.context() as patch:
        if module is None:
            spec = importlib.util.spec_from_file_location(name, ROOT / command)
            module = importlib.util.module_from_spec(spec)
            patch.setitem(sys.modules, name, module)
            spec.loader.exec_module(module)
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        with pytest.raises(ParserReachedError):
            module.main()
    return found[0]


def call(main: Callable[[], Any], *line: object) -> Any:
    """What `main` returns at this command line. line: the command's name and arguments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(part) for part in line])
        return main()


def exit_status(main: Callable[[], int | None], *line: object) -> int:
    """The status that a command ends with at this command line."""
    with pytest.raises(SystemExit) as ended:
        call(lambda: run_command(main), *line)
    return ended.value.code
