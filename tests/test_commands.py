"""Commands at the shell: each explains itself with examples that it understands, and is quiet where nobody watches."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from commands import COMMANDS, ROOT, parser_of
from commands import SOURCES as ALL_SOURCES

from utils import distributed

SOURCES = [path for path in ALL_SOURCES if path != Path(__file__)]
HOW = r"(python (?:-m )?[\w./]+|bash [\w/]+\.sh)"  # how an example line begins


def with_subcommands(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    below = [action.choices.values() for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [parser, *(part for parts in below for part in parts)]


def calls(command: str) -> set[str]:
    """How a command is called in examples."""
    module = command.removesuffix(".py").replace("/", ".")
    scripts = {"prepare.build": "bash prepare/generate_dataset.sh"}
    return {f"python {command}", f"python -m {module}", scripts.get(module, f"python {command}")}


def test_the_commands_are_found() -> None:
    assert {
        "train.py",
        "prepare/build.py",
        "reporting/dataset_card.py",
        "reporting/animation.py",
        "tests/parity.py",
    } <= {*COMMANDS}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained_and_names_its_default(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for parser in with_subcommands(parser_of(command, monkeypatch)):
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                continue
            assert action.help, action.dest
            if action.default not in (None, False, [], argparse.SUPPRESS) and not action.required:
                assert "%(default)s" in action.help or "default:" in action.help, (command, action.dest, action.help)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_has_examples_that_it_understands(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = parser_of(command, monkeypatch)
    for part in with_subcommands(parser):
        with pytest.raises(SystemExit) as ended:
            part.parse_args(["--help"])
        assert ended.value.code == 0
        lines = [line.strip().partition(" #")[0] for line in capsys.readouterr().out.splitlines()]
        own = [
            match[2] for line in lines if (match := re.fullmatch(rf"{HOW}(.*)", line)) and match[1] in calls(command)
        ]
        assert own
        for arguments in own:
            parser.parse_args(shlex.split(arguments))


def test_modules_run_as_commands() -> None:
    arguments = [sys.executable, "-m", "reporting.dataset_card", "--split", "none", "--data", "nowhere"]
    outcome = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith("error: nowhere holds no split 'none'")
    assert len(outcome.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_refused_by_its_name(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = parser_of(command, monkeypatch)
    required = [action for action in parser._actions if action.required or not action.option_strings]
    if any(isinstance(action, argparse._SubParsersAction) for action in required):
        parser = with_subcommands(parser)[1]
        required = [action for action in parser._actions if action.required]
    values = [part for action in required for part in (*action.option_strings[:1], "1")]
    with pytest.raises(SystemExit) as ended:
        parser.parse_args([*values, "--no-such-option", "1"])
    assert ended.value.code == 2
    assert "--no-such-option" in capsys.readouterr().err


@pytest.mark.parametrize("script", ["prepare/demo.sh", "tests/run.sh"])
def test_a_script_explains_itself_and_does_nothing_else(script: str) -> None:
    outcome = subprocess.run(["bash", ROOT / script, "--help"], capture_output=True, text=True, timeout=20)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert f"bash {script}" in outcome.stdout
    assert len(outcome.stdout.splitlines()) == 2


def test_the_demo_refuses_what_it_would_not_heed() -> None:
    outcome = subprocess.run(["bash", ROOT / "prepare/demo.sh", "--clips"], capture_output=True, text=True, timeout=20)
    assert outcome.returncode == 2
    assert "--clips" in outcome.stderr


@pytest.mark.parametrize("path", [path for path in SOURCES if "tqdm(" in path.read_text(encoding="utf-8")])
def test_progress_bars_are_shown_at_a_terminal_alone(path: Path) -> None:
    bars = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "tqdm"
    ]
    assert bars
    for bar in bars:
        disable = next((keyword.value for keyword in bar.keywords if keyword.arg == "disable"), None)
        assert disable is not None
        shown = ast.unparse(disable)
        assert shown.startswith("None") or shown == "distributed.no_bar()"  # None is tqdm's word for it


def test_a_single_process_leaves_progress_bars_to_tqdm() -> None:
    assert distributed.no_bar() is None
