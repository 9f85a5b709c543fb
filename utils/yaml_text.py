"""YAML from users' files and command lines, as plain values."""

from __future__ import annotations

import re
from typing import Any

import yaml

from utils.errors import UserError


class _Loader(yaml.SafeLoader):
    """Reads 1e-3 as a number (YAML 1.1 wants 1.0e-3) and refuses a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def parse_yaml(text: str, source: str) -> Any:
    """Plain values from YAML. Raises UserError that names the `source`: no valid YAML, or a key that stands twice."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except Exception as error:  # yaml raises nearly anything where a tag does not fit its text
        raise UserError(f"{source}: is not valid YAML: {' '.join(str(error).split())}") from None
