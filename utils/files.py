"""Reads users' files. Text, JSON and YAML that are missing, too large or damaged become one clear error.

Pipes and devices are refused. Reading a pipe can wait for ever, and /dev/zero has no end.
"""

import errno
import hashlib
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from utils.errors import UserError, first_problem, shown

MAX_BYTES = 1 << 30  # of a file that is read whole
ANYTHING = TypeAdapter(Any)
KINDS = {stat.S_IFIFO: "named pipe", stat.S_IFSOCK: "socket"}


class StrictModel(BaseModel):
    """A part of a JSON or YAML file: exact types, no unknown entry, read-only."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class PartialModel(BaseModel):
    """The entries of a JSON file that this project uses: exact types; all other entries are ignored."""

    model_config = ConfigDict(strict=True)


def stat_regular_file(path: Path) -> os.stat_result:
    """Size and times of a regular file, or of the one to which a link leads.

    Raises OSError when the file is missing or of another kind, or when links form a loop.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "device")
        raise OSError(errno.EINVAL, f"it is a {kind}, not a regular file", str(path))
    return status


def sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_bytes(path: Path, expected: str, max_bytes: int = MAX_BYTES) -> bytes:
    """The content of a file. `expected` says for messages what the file should be, and where to get it.

    Raises UserError when the file cannot be read or is larger than `max_bytes`.
    """
    try:
        if stat_regular_file(path).st_size > max_bytes:
            raise UserError(f"{path}: is larger than {max_bytes >> 30} GiB; expected {expected}")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected {expected}") from None


def read_text(path: Path, expected: str) -> str:
    """The text of a file in UTF-8. Raises UserError as `read_bytes`, and when the file is no text."""
    try:
        return read_bytes(path, expected).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not UTF-8 text; expected {expected}") from None


def read_json(path: Path, schema: TypeAdapter, expected: str) -> Any:
    """The values in a JSON file. Raises UserError as `read_text`, and when they do not fit the schema.

    A key that stands twice in an object is an error, too.
    """
    try:
        return schema.validate_python(json.loads(read_text(path, expected), object_pairs_hook=_unique))
    except ValidationError as error:
        problem = first_problem(error)
    except (ValueError, RecursionError) as error:
        problem = f"is not JSON ({str(error)[:200]})"
    raise UserError(f"{path}: {problem}; expected {expected}")


def read_yaml(path: Path, expected: str, schema: TypeAdapter = ANYTHING) -> Any:
    """The values in a YAML or JSON file. Raises UserError as `read_text` and `parse_yaml`, or if they do not fit."""
    text = read_text(path, expected)
    try:
        values = json.loads(text, object_pairs_hook=_unique)  # it may be indented with tabs, which YAML refuses
    except (ValueError, RecursionError):
        values = parse_yaml(text, str(path))
    try:
        return schema.validate_python(values)
    except ValidationError as error:
        raise UserError(f"{path}: {first_problem(error)}; expected {expected}") from None


def parse_yaml(text: str, source: str) -> Any:
    """The values in a YAML text. Raises UserError, which names `source`, if it is not YAML or repeats a key."""
    try:
        return yaml.load(text, _YamlLoader)  # noqa: S506 - a SafeLoader
    except Exception as error:  # yaml raises many kinds of errors where a tag does not fit its text
        raise UserError(f"{source}: is not valid YAML: {' '.join(str(error).split())}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = {}
    for key, value in pairs:
        if key in entries:
            raise ValueError(f"the key {shown(key)} stands twice in one object")
        entries[key] = value
    return entries


class _YamlLoader(yaml.SafeLoader):
    """A SafeLoader that reads 1e-3 as a number (YAML 1.1 wants 1.0e-3).

    It refuses repeated keys, and merge keys (`<<`), by which a small file could expand without limit. It also refuses
    010 and 1:30, which are the integers 8 and 90 in YAML 1.1.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)  # also refuses `<<`, for which PyYAML has no constructor
            if key in seen:
                problem = f"the key {key!r} stands twice"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if re.match("[-+]?0[0-9_]", node.value) or ":" in node.value:
            problem = f"{node.value} would be read as {super().construct_yaml_int(node)}; write text in quotes"
            raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark)
        return super().construct_yaml_int(node)


_YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)
_YamlLoader.add_constructor("tag:yaml.org,2002:int", _YamlLoader.construct_yaml_int)
