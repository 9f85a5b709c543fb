"""Reads YAML from users' files and command lines."""

from __future__ import annotations

import re
from typing import Any

import yaml

from utils.errors import UserError


class _Loader(yaml.SafeLoader):
    """A SafeLoader that reads 1e-3 as a number (YAML 1.1 wants 1.0e-3) and refuses repeated keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                problem = f"the key {key!r} stands twice"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def parse_yaml(text: str, source: str) -> Any:
    """The values in a YAML text. Raises UserError, which names `source`, if it is not YAML or repeats a key."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except Exception as error:  # yaml raises many kinds of errors where a tag does not fit its text
        raise UserError(f"{source}: is not valid YAML: {' '.join(str(error).split())}") from None
