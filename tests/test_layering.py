"""Imports run one way: commands → prepare, reporting → feeders, model, evaluation → utils."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = {path.stem for path in ROOT.iterdir()}
MIDDLE = {"feeders", "model", "evaluation", "utils"}
MAY_IMPORT = {"utils": set(), "feeders": {"utils"}, "model": {"utils"}, "evaluation": {"utils"}}
MAY_IMPORT |= {"reporting": MIDDLE, "prepare": MIDDLE}
SHARED = {"files", "flavours", "frames", "labels", "npz", "pickles"}  # by the formats


def imports(path: Path) -> set[str]:
    """What a file imports anywhere, such as utils.errors.UserError."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    whole = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    return whole | {f"{node.module}.{n.name}" for node in nodes if isinstance(node, ast.ImportFrom) for n in node.names}


def test_a_folder_imports_only_folders_below_it() -> None:
    for folder, below in MAY_IMPORT.items():
        for path in (ROOT / folder).rglob("*.py"):
            if '__name__ == "__main__"' not in path.read_text():  # a command may import every folder
                found = {name.split(".")[0] for name in imports(path)} & PROJECT
                assert found <= below | {folder}, f"{path}: imports {found - below - {folder}}"


def test_no_format_imports_another_one() -> None:
    for path in (ROOT / "prepare" / "formats").glob("*.py"):
        found = {name.split(".")[2] for name in imports(path) if name.startswith("prepare.formats.")}
        assert found <= SHARED | {path.stem}, f"{path}: imports {found - SHARED}"
