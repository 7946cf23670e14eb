"""One diagnosis: how a tool words an error, what it means, and what to do."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Level = Literal["error", "warning"]


class Diagnosis(BaseModel):
    """A message of a tool, and what is behind it. Immutable; the patterns are compiled on first use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)+$")
    tool: str
    """Whose message it is, such as `torch.onnx` or `TensorRT`."""
    match: tuple[str, ...] = Field(min_length=1)
    """Regular expressions; one of them is found in the line. The groups `op` and `node` name the place, others are details."""
    cause: str
    remedy: str
    example: str
    """A line that it is for."""
    repair: str | None = None
    """Id of the repair that mends it in the graph."""
    links: tuple[str, ...] = ()
    """Public pages: a URL, or `owner/repository#number` of a GitHub issue."""
    level: Level = "error"
    generic: bool = False
    """It names a symptom; a specific diagnosis from anywhere in the same log goes before it."""
    leads_to: tuple[str, ...] = ()
    """Ids of errors; where one of them follows this message, this is their cause."""
    explains: tuple[str, ...] = ()
    """Ids of errors; where one of them comes right before this message, this says what failed there, and is the cause."""
    alone: bool = False
    """A warning that tells what went wrong where the log has no error."""
    header: bool = False
    """It only announces that something failed; the error after it says why, and is quoted as the reason."""
    sides: dict[str, str] = {}
    """Two groups of the expressions that hold versions, and what they are versions of, so that the older one is named."""

    @field_validator("match", mode="before")
    @classmethod
    def _several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @cached_property
    def patterns(self) -> tuple[tuple[str, re.Pattern[str]], ...]:
        """Each expression with the text that every line it matches contains: looking for that first is what makes
        a long log quick."""
        return tuple((literal(pattern), re.compile(pattern)) for pattern in self.match)

    def search(self, line: str) -> re.Match[str] | None:
        for text, pattern in self.patterns:
            if text in line and (found := pattern.search(line)):
                return found
        return None

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(link if "://" in link else issue_url(link) for link in self.links)

    def page(self) -> str:
        """The diagnosis as a page of Markdown."""
        kind = "warning" if self.level == "warning" else "symptom" if self.generic else "error"
        parts = [
            f"# {self.id}",
            f"{self.tool}, {kind}.",
            f"```text\n{self.example}\n```",
            f"**Cause.** {_sentence(self.cause)}",
            f"**Remedy.** {_sentence(self.remedy)}",
        ]
        if self.repair:
            parts.append(f"**Repair.** `enginesmith doctor --fix` has one: `{self.repair}`.")
        for label, others in (("Leads to", self.leads_to), ("Explains", self.explains)):
            if others:
                parts.append(f"**{label}.** {', '.join(f'[{name}](diagnosis-{name}.md)' for name in others)}.")
        if self.links:
            parts.append("\n".join(f"- <{url}>" for url in self.urls))
        return "\n\n".join(parts) + "\n"


def issue_url(reference: str) -> str:
    """`owner/repository#number` as a URL. Raises ValueError for anything else."""
    match = re.fullmatch(r"([\w.-]+/[\w.-]+)#(\d+)", reference)
    if match is None:
        raise ValueError(f"neither a URL nor owner/repository#number: {reference!r}")
    return f"https://github.com/{match[1]}/issues/{match[2]}"


def literal(pattern: str) -> str:
    """The longest plain text that a match of the expression must contain.

    Raises ValueError for an alternation outside of groups (write several expressions), for flags, and where there is no
    text of 4 characters or more: such an expression would be tried on every line.
    """
    gap = "\n"
    hidden = re.sub(r"\\(\W)", lambda found: chr(0xE000 + ord(found[1])), pattern)  # an escaped sign is text
    plain = re.sub(r"\\\w|\[(?:\\.|[^\]])*\]|\.", gap, hidden)
    before = ""
    while before != plain:
        before, plain = plain, re.sub(r"\([^()]*\)", gap, plain)
    if "|" in plain or "(?i" in pattern:
        raise ValueError(f"write alternatives as several expressions, and no flags: {pattern!r}")
    plain = re.sub(r"(?s).(?:[*?]|\{[^}]*\})\??", gap, plain)
    longest = max(re.split(r"[\n+^$]", plain), key=len)
    text = "".join(chr(ord(c) - 0xE000) if "\ue000" <= c <= "\ue0ff" else c for c in longest)
    if len(text) < 4:
        raise ValueError(f"no plain text of 4 characters in {pattern!r}")
    return text


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
