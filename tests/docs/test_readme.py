"""README.md and docs/: commands parse, files exist, links lead somewhere."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from commands import COMMANDS, ROOT, parser_of

from utils import config

README = ROOT / "README.md"
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [README, *sorted(ROOT.glob("*/*.md"))]
    if not path.parent.name.startswith(".")  # .venv and caches
}
SCRIPTS = {  # scripts without a parser of their own: the command that gets their arguments
    "prepare/generate_dataset.sh": "prepare/build.py",
    "prepare/own_data.sh": "prepare/own_data.py",
    "prepare/pkummd.sh": "prepare/pkummd.py",
    "prepare/public_benchmark.sh": "prepare/public_benchmark.py",
    "cluster/train.sbatch": "train.py",
    "cluster/sweep.sbatch": "benchmarks/accuracy.py",
    "prepare/demo.sh": None,
    "tests/run.sh": None,
}
START = r"(?:python|bash|torchrun|sbatch|tensorboard|source) "
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")


def commands_of(text: str) -> list[str]:
    """Commands of a page, from its bash blocks and from its inline code."""
    blocks = re.findall(r"^ *```bash\n(.*?)```", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in [*lines, *re.findall(r"`([^`\n]+)`", text)] if re.match(START, line)]


def anchors_of(text: str) -> set[str]:
    """Anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


ALL_COMMANDS = sorted({line for text in PAGES.values() for line in commands_of(text)})


def test_the_readme_has_the_commands_that_matter_on_few_lines() -> None:
    text = PAGES["README.md"]
    assert {
        "bash prepare/demo.sh",
        "bash tests/run.sh",
        "bash prepare/generate_dataset.sh",
        "source .venv/bin/activate",
        "python train.py --config config/train_split1.yaml",
        "tensorboard --logdir work_dir",
    } <= set(commands_of(text))
    assert len(text.splitlines()) <= 180


@pytest.mark.parametrize("line", [line for line in ALL_COMMANDS if not line.startswith(("tensorboard", "source"))])
def test_a_documented_command_is_understood(line: str) -> None:
    words = shlex.split(line)
    place = next(i for i, word in enumerate(words) if re.fullmatch(r"[\w/]+\.(py|sh|sbatch)|\w+(\.\w+)+", word))
    target = words[place]
    command = SCRIPTS.get(target, target)
    if words[1] == "-m":
        command = f"{target.replace('.', '/')}.py"
    if command is None:
        assert (ROOT / target).is_file()
        return
    assert command in COMMANDS
    parser = parser_of(command)
    if "--help" in words:
        return
    args = parser.parse_args(words[place + 1 :])
    if command == "train.py":
        config.load([ROOT / path for path in args.config], args.set)  # files exist, settings are valid
    if command == "benchmarks/accuracy.py":
        assert (ROOT / args.list).is_file()


@pytest.mark.parametrize("script", [*SCRIPTS, "prepare/environment.sh"])
def test_a_script_is_valid_bash(script: str) -> None:
    assert subprocess.run(["bash", "-n", ROOT / script]).returncode == 0


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_lead_to_files_and_headings(page: str) -> None:
    for target in LINK.findall(PAGES[page]):
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.is_file(), target
        if anchor:
            assert anchor in anchors_of(file.read_text(encoding="utf-8")), target


def test_every_page_is_one_click_from_the_readme() -> None:
    linked = {(ROOT / target.partition("#")[0]).resolve() for target in LINK.findall(PAGES["README.md"])}
    assert {path.resolve() for path in (ROOT / "docs").glob("*.md")} <= linked


@pytest.mark.parametrize("line", re.search(r"^## Map\n+```\n(.*?)```", PAGES["README.md"], re.S | re.M)[1].splitlines())
def test_the_map_names_what_is_there(line: str) -> None:
    for name in re.split(r",? ", line.partition("   ")[0].strip()):
        assert (ROOT / name).exists(), name


def test_the_map_names_every_folder() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    folders = {Path(file).parts[0] for file in tracked.stdout.splitlines() if "/" in file}
    named = PAGES["README.md"].partition("## Map")[2].partition("## Limits")[0]
    assert all(f"{folder}/" in named for folder in folders if not folder.startswith("."))


def test_the_sketch_of_the_method_needs_no_other_file() -> None:
    sketch = (ROOT / "docs" / "framework.svg").read_text(encoding="utf-8")
    assert not re.search(r"<script|<image|https?://(?!www\.w3\.org/2000/svg)", sketch)
