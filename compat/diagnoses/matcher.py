"""Finds the diagnosis of a line among hundreds of expressions, without trying each of them on each line."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from enginesmith.compat.diagnoses.diagnosis import Diagnosis

_WORD = re.compile(r"[A-Za-z_]{4,}")
_INNER = re.compile(r"(?<=[^A-Za-z_])[A-Za-z_]{4,}(?=[^A-Za-z_])")


class Matcher:
    """Of an expression's plain text a whole word is taken (the longest that has a border on both sides, since then it is
    a whole word of the line too), and only the expressions are tried whose word the line has. Where there is no such
    word the plain text itself is looked for."""

    def __init__(self, diagnoses: Sequence[Diagnosis]) -> None:
        self._diagnoses = diagnoses
        self._by_word: dict[str, set[int]] = defaultdict(set)
        self._texts: list[tuple[str, int]] = []
        for rank, diagnosis in enumerate(diagnoses):
            for text, _ in diagnosis.patterns:
                if words := _INNER.findall(text):
                    self._by_word[max(words, key=len)].add(rank)
                else:
                    self._texts.append((text, rank))

    def find(self, line: str) -> tuple[Diagnosis, re.Match[str]] | None:
        """The first diagnosis that knows the line."""
        if len(line) < 4:
            return None
        ranks = {rank for text, rank in self._texts if text in line}
        for word in self._by_word.keys() & set(_WORD.findall(line)):
            ranks |= self._by_word[word]
        for rank in sorted(ranks):
            if found := self._diagnoses[rank].search(line):
                return self._diagnoses[rank], found
        return None
