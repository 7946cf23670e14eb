"""Where in the graph a message points: the operator and the node that it, or a line near it, names."""

from __future__ import annotations

import re
from dataclasses import dataclass

# what stands in the message itself
_HERE = [
    re.compile(pattern)
    for pattern in (
        r"In node -?\d+ with name: (?P<node>\S{0,300}) and operator: (?P<op>\w{0,80}) \(",  # onnx-tensorrt 10
        r"In [Nn]ode, ?\(\"(?P<node>[^\"]{0,300})\", (?P<op>\w{1,80}),",  # ONNX Runtime, while it loads
        r"Node ?(?:\(|: ?)(?P<node>[^()]{0,300})\)? Op ?(?:\(|: ?)(?P<op>\w{1,80})",
        r"while running (?P<op>\w{1,80}) node\. Name: ?'(?P<node>[^']{0,300})'",  # ONNX Runtime, while it runs
        r"\bOp \((?P<op>\w{1,80})\) \[(?:Shape|Type)InferenceError\].{0,300}?\((?P<node>[\w/.-]{1,200})\)$",
        r"\(op_type: ?(?P<op>\w{1,80})(?:, (?:node )?name: (?P<node>[^)]{1,300}))?\)",  # onnx's shape inference
        r"Usage Error \((?P<node>[^\s:(){}]{1,300}): ",  # TensorRT's checks of a layer
        r"\[E\] (?:\[TRT\] )?(?:Error\[\d+\]: |\d+: )?(?!Error|[A-Z_]{4,}:)(?P<node>[A-Za-z_/][^\s:()\[\]]{1,300}): [A-Za-z]",
        r"\bLayer: (?P<node>[^\s':]{1,300})'s output\b",
        r"\bI\w{2,40}Layer (?P<node>[^\s:]{1,300}): ",
        r"(?P<node>\(Unnamed Layer\* \d+\) \[[\w ]{2,40}\]) ?: ?\w",  # a layer that the parser made for no node of the model
        r"implementation for node (?P<node>\{ForeignNode\[.{1,400}?\]\})",
        r"In node -?\d+ \(import(?!Model|Initializer|Input|FallbackPlugin)(?P<op>\w{1,80})\)",  # onnx-tensorrt up to 8
        r"In function import(?!Model|Initializer|Input|FallbackPlugin)(?P<op>\w{1,80})",
        r"[Nn]ame: ?(?P<node>\S{0,300}) OpType: (?P<op>\w{1,80})",  # onnx's checker
        r"violat\w{1,4} .{0,80}?\. (?:I\w{2,40}Layer )?(?P<node>[\w/.:-]{1,200}): [a-z]",  # TensorRT's checks of a profile
        r"\bin node \((?P<node>[^()]{1,300})\)",
        r"node with name '(?P<node>[^']{1,300})'",
        r"Error Code \d+: [^(]{1,40}\((?P<node>/[^\s:(){}]{1,300}): ",
        r"Error Code \d+: Internal Error \((?P<node>[\w./-]{2,300}): [a-z]",
    )
]
# what announces the node that the next lines are about
_BEFORE = [
    re.compile(pattern)
    for pattern in (
        r"While parsing node number \d+ \[(?P<op>[\w.:]{1,80})(?: -> \"(?P<node>[^\"]{0,300})\")?\]",
        r"Error converting operator (?P<op>\w{1,80}), with inputs",
        r"^(?:\S{1,20} )?(?:ERROR: )?[^\s:]{1,200}:\d+ In function (?:import|check)(?!Model|Initializer|Input|FallbackPlugin)(?P<op>\w{1,80})",  # noqa: E501
    )
]
# what names the node of the message above it
_AFTER = [
    re.compile(pattern)
    for pattern in (
        r"[Nn]ame: ?(?P<node>\S{0,300}) OpType: (?P<op>\w{1,80})",
        r"While executing %(?P<node>\w{1,200}) ?: .{0,200}target=(?P<op>[\w.]{1,200})",
        r"While parsing node number \d+ \[(?P<op>[\w.:]{1,80})(?: -> \"(?P<node>[^\"]{0,300})\")?\]",
    )
]
_NUMBER = re.compile(r"\b[Ii]n node (\d+) \(|node number (\d+)\b")
_HINTS = ("ode", "rror", "OpType", "op_type", "Layer", "import")
_PARSER = re.compile(r"[Ww]hile parsing node number|:\d+:? In function \w{1,80}:$")
REASON = 3
"""Lines after what the parser announces, in which it says why."""
NEAR = 60
"""Lines for which an announcement holds: a parser dumps the node after it."""


@dataclass
class Place:
    op: str = ""
    node: str = ""

    def fill(self, found: re.Match[str] | None) -> None:
        """Take over what is not known yet."""
        if found is not None:
            groups = found.groupdict()
            self.op = self.op or (groups.get("op") or "").strip("'\"")
            self.node = self.node or (groups.get("node") or "").strip("'\"{}")


class Announcements:
    """Remembers the node that was announced last."""

    def __init__(self) -> None:
        self._place = Place()
        self._line = -NEAR - 1
        self._parser = -NEAR - 1

    def read(self, number: int, text: str) -> None:
        if _PARSER.search(text):
            self._parser = number
        if "rror" in text or "parsing node" in text or "ERROR" in text or "In function" in text:
            for pattern in _BEFORE:
                if found := pattern.search(text):
                    self._place, self._line = Place(), number
                    self._place.fill(found)
                    return
        if text.startswith("Node name: "):  # its dump; before it only its first output was named
            self._place.node = text.removeprefix("Node name: ").strip() or self._place.node

    def parsed(self, number: int) -> bool:
        """Whether TensorRT's parser just said that it gives its reason next."""
        return number - self._parser <= REASON

    def near(self, number: int) -> Place:
        return self._place if number - self._line <= NEAR else Place()


def place_of(found: re.Match[str], text: str, announced: Place) -> Place:
    """The place that the message names, or else the one that was announced for it."""
    place = Place()
    place.fill(found)
    return find_place(text, announced, place)


def find_place(text: str, announced: Place, known: Place | None = None) -> Place:
    """The place that a line names, or else the one that was announced for it; what is `known` of it stays."""
    place = known or Place()
    for pattern in _HERE:
        if place.op and place.node:
            return place
        place.fill(pattern.search(text))
    if announced.op and place.op in ("", announced.op):
        place = Place(announced.op, place.node or announced.node)
    return place


def number_of(text: str) -> str:
    """The node's index in the file, which parsers give where they know no name; empty where there is none."""
    found = _NUMBER.search(text)
    return found[1] or found[2] if found else ""


def complete(place: Place, text: str) -> None:
    """Take over what one of the lines after a message tells of its place."""
    if any(hint in text for hint in _HINTS):
        for pattern in _AFTER:
            if found := pattern.search(text):
                place.fill(found)
                return
