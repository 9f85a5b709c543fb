"""Commands at the shell: the help of each has examples that it understands, and a mistake gives one message."""

import argparse
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from commands import COMMANDS, ROOT, parser_of
from commands import SOURCES as ALL_SOURCES

import utils

SOURCES = [path for path in ALL_SOURCES if path != Path(__file__)]
HOW = r"(python (?:-m )?[\w./]+|bash [\w/]+\.sh)"  # how an example line begins


def with_subcommands(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    below = [action.choices.values() for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [parser, *(part for parts in below for part in parts)]


def calls(command: str) -> set[str]:
    """How a command is called in examples."""
    module = command.removesuffix(".py").replace("/", ".")
    script = "prepare/generate_dataset.sh" if command == "prepare/build.py" else f"{command.removesuffix('.py')}.sh"
    return {f"python {command}", f"python -m {module}", f"bash {script}"}


def test_the_commands_are_found() -> None:
    assert {
        "train.py",
        "prepare/build.py",
        "reporting/compare.py",
        "reporting/show.py",
        "tests/parity.py",
    } <= {*COMMANDS}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained_and_names_its_default(command: str) -> None:
    for parser in with_subcommands(parser_of(command)):
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                continue
            assert action.help, action.dest
            if action.default not in (None, False, [], argparse.SUPPRESS) and not action.required:
                assert "%(default)s" in action.help or "default:" in action.help, (command, action.dest, action.help)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_has_examples_that_it_understands(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = parser_of(command)
    for part in with_subcommands(parser):
        with pytest.raises(SystemExit) as ended:
            part.parse_args(["--help"])
        assert ended.value.code == 0
        lines = [line.strip().partition(" #")[0] for line in capsys.readouterr().out.splitlines()]
        own = [
            match[2] for line in lines if (match := re.fullmatch(rf"{HOW}(.*)", line)) and match[1] in calls(command)
        ]
        assert own
        for line in own:
            parser.parse_args(shlex.split(line))


def test_modules_run_as_commands() -> None:
    arguments = [sys.executable, "-m", "reporting.show", "--split", "none", "--data", "nowhere"]
    outcome = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith("error: nowhere holds no split 'none'")
    assert len(outcome.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_refused_by_its_name(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = parser_of(command)
    required = [action for action in parser._actions if action.required or not action.option_strings]
    if any(isinstance(action, argparse._SubParsersAction) for action in required):
        parser = with_subcommands(parser)[1]
        required = [action for action in parser._actions if action.required]
    values = [part for action in required for part in (*action.option_strings[:1], (action.choices or "1")[0])]
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


def test_all_commands_show_their_progress_in_one_way() -> None:
    users = [path for path in SOURCES if re.search(r"\btqdm\(", path.read_text(encoding="utf-8"))]
    assert [path.relative_to(ROOT).as_posix() for path in users] == ["utils/progress.py"]


def test_a_mistake_in_the_command_line_is_reported_before_the_slow_imports() -> None:
    code = """
import contextlib, io, runpy, sys
for command in sys.argv[1:]:
    sys.argv, said = [command, "--no-such-option"], io.StringIO()
    sys.path[:0] = ["."]
    with contextlib.redirect_stderr(said):
        try:
            runpy.run_path(command, run_name="__main__")
        except SystemExit as end:
            assert end.code == 2, command
    assert "error: " in said.getvalue(), command
    slow = {"torch", "matplotlib", "scipy", "sklearn", "tensorboard", "smplx"} & {*sys.modules}
    assert not slow, (command, slow)
"""
    outcome = subprocess.run([sys.executable, "-c", code, *COMMANDS], cwd=ROOT, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_without_its_packages_says_in_one_line_what_to_do(command: str) -> None:
    module = ["-m", command.removesuffix(".py").replace("/", ".")] if command.count("/") else [command]
    outcome = subprocess.run([sys.executable, "-S", *module], cwd=ROOT, capture_output=True, text=True)
    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert re.fullmatch(r"error: \S+ does not find torch and \d+ more; .*(\.venv|requirements).*\n", outcome.stderr)


def test_every_required_package_is_looked_for() -> None:
    imported_as = {"PyYAML": "yaml", "scikit-learn": "sklearn", "Jinja2": "jinja2", "pillow": "PIL"}
    names = re.findall(r"^([\w-]+)==", (ROOT / "requirements.txt").read_text(), flags=re.MULTILINE)
    assert {imported_as.get(name, name) for name in names} - {"av"} == {*utils.REQUIRED}


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_while_python_shuts_down_prints_nothing(name: str) -> None:
    code = f"import atexit, signal; atexit.register(signal.raise_signal, signal.{name})\n"
    code += "from utils.errors import run_command; run_command(lambda: 0)"
    outcome = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (outcome.stdout, outcome.stderr) == ("", "")


def test_output_that_nobody_reads_ends_a_command_silently() -> None:
    """As in `python predict.py … | head`."""
    read, write = os.pipe()
    os.close(read)
    code = "from utils.errors import run_command; run_command(lambda: print('read by nobody'))"
    ended = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, cwd=ROOT)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (141, b"")
