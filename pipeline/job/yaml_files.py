"""Mappings that people write as YAML: recipes, matrices."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.error import MarkedYAMLError

from enginesmith.converters.core.errors import UserError

LARGEST = 1_000_000
"""Bytes of a file."""


class _Useless(ComposerError):
    """YAML that has no use here."""


class _Loader(yaml.SafeLoader):
    """YAML without references, of which a few lines can make gigabytes, and a key twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise _Useless(None, None, "it may have no references (*name)", self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = Counter(str(key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        for key, count in keys.most_common(1):
            if count > 1:
                raise _Useless(None, None, f"{key[:60]!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_mapping(file: Path, what: str, example: str) -> dict[str, Any]:
    """The keys of a file that is a `what`, such as `example`. Raises UserError, which names the line."""
    try:
        with file.open("rb") as stream:
            text = stream.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise UserError(f"{file} is no {what}: it has more than {LARGEST // 1000} kB")
        values = yaml.load(text, _Loader)  # a SafeLoader
    except OSError as error:
        raise UserError(f"can't read the {what} {file}: {error.strerror}") from None
    except RecursionError:
        raise UserError(f"the {what} {file} is no mapping such as `{example}`: it is nested too deep") from None
    except MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        wrong = "" if isinstance(error, _Useless) else " is no YAML"
        raise UserError(f"the {what} {file}{wrong}{line}: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that there isn't, bytes that are no text
        raise UserError(f"the {what} {file} is no YAML: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"the {what} {file} must be a mapping such as `{example}`")
    return values
