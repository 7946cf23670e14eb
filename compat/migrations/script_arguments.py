"""The arguments of a script that reads them by argparse: their defaults, and what was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

UNKNOWN: Any = type("Unknown", (), {"__repr__": lambda self: "?", "__bool__": lambda self: False})()
"""The value of what only running would tell. Compare with `is`."""


class Arguments:
    """`values` by the attribute that holds them."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._spelled: dict[str, tuple[str, bool]] = {}
        """An argument's own spelling to its attribute, and whether it takes no value."""

    def add(self, names: Sequence[Any], keywords: Mapping[str, Any]) -> None:
        """What `add_argument` says, as far as it is known."""
        spelled = [name for name in names if isinstance(name, str)]
        if not spelled:
            return
        long = next((name for name in spelled if name.startswith("--")), spelled[0])
        destination = keywords.get("dest")
        attribute = destination if isinstance(destination, str) else long.lstrip("-").replace("-", "_")
        action = keywords.get("action")
        switch = action in ("store_true", "store_false")
        default = keywords.get("default", action == "store_false" if switch else UNKNOWN)
        self.values.setdefault(attribute, default)
        for name in spelled:
            self._spelled[name] = (attribute, switch)

    def take(self, given: Sequence[str]) -> None:
        """The words that follow the script's name where it is called."""
        left = list(given)
        positional = [attribute for name, (attribute, _) in self._spelled.items() if not name.startswith("-")]
        while left:
            word = left.pop(0)
            name, equals, value = word.partition("=")
            if name in self._spelled:
                attribute, switch = self._spelled[name]
                if switch:
                    self.values[attribute] = not self.values.get(attribute, False)
                else:
                    text = value if equals else left.pop(0) if left else ""
                    self.values[attribute] = int(text) if text.isdigit() else text
            elif not word.startswith("-") and positional:
                self.values[positional.pop(0)] = word
