"""Pages of reports as a browser sees them, for the tests of what is on them."""

from __future__ import annotations

from html.parser import HTMLParser

import report_manifests as manifests

from enginesmith.compat.findings import Finding
from enginesmith.converters.core.records import Attempt
from enginesmith.pipeline.job.manifest import Manifest

HOSTILE = "</script><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)> \"'&amp; {{ 7*7 }} &lt;"


class Page(HTMLParser):
    """What a browser would make of the page: its elements, its text, and all that it would load."""

    LOADS = ("src", "href", "xlink:href", "srcset", "data", "action", "poster")
    VOID = ("meta", "br", "link", "img", "input", "hr")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.loads: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.loads += [(tag, value or "") for name, value in attrs if name in self.LOADS]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, "elements overlap"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif self.open and self.open[-1] != "style":
            self.words.append(data)

    def ids(self) -> list[str]:
        return [attrs["id"] or "" for _, attrs in self.elements if "id" in attrs]


MANIFESTS = [manifests.detector, manifests.failure, manifests.minimal, manifests.large]


def hostile() -> Manifest:
    """Every free text of a manifest tries to break out of the page."""
    base = manifests.detector(gpu=True)
    finding = Finding(
        severity="error", op=HOSTILE, node=HOSTILE, backend=HOSTILE, versions=HOSTILE, message=HOSTILE, remedy=HOSTILE
    )
    dumped = base.model_dump()
    for stage in dumped["stages"]:
        facts = stage["facts"]
        stage |= {"error": HOSTILE, "remedy": HOSTILE, "tools": {HOSTILE: "1"}, "log": "javascript:alert(1)"}
        facts |= {"note": HOSTILE, "warnings": [HOSTILE], "findings": [finding]}
        if facts.get("ops"):
            facts |= {"ops": {HOSTILE: 3}, "attempts": [Attempt(tool=HOSTILE, seconds=1, error=HOSTILE)]}
        if comparison := facts.get("comparison"):
            comparison |= {"found": f"{stage['id']} {HOSTILE}", "reason": HOSTILE}
            for sample in comparison["samples"]:
                sample["outputs"][0]["name"] = HOSTILE
    for engine in dumped["engines"]:
        engine |= {"target": HOSTILE, "path": HOSTILE, "verified_reason": HOSTILE, "details": {HOSTILE: HOSTILE}}
        engine |= {"layers_by_dtype": {HOSTILE: 3}}
    dumped["model"] |= {"name": HOSTILE, "spec": HOSTILE}
    return Manifest.model_validate(dumped | {"command": [HOSTILE], "recipe": {HOSTILE: HOSTILE}})
