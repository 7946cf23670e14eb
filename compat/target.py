"""What a graph is meant for: a backend and its version, installed or not."""

from __future__ import annotations

import re
from dataclasses import dataclass

TENSORRT = ("tensorrt", "tensorrt-rtx")
TVM = ("tvm",)
EVERY = (*TENSORRT, *TVM)


@dataclass(frozen=True)
class Target:
    """`backend` is one of EVERY; `version` such as `8.6` or `10.3.0`, compared part by part; `gpu` is a compute capability
    such as `sm_89`, empty where it is not known or where there is none.
    """

    backend: str
    version: str
    gpu: str = ""

    def within(self, versions: str) -> bool:
        """Is the version within a range such as `>=8.5,<10`? An empty range holds every version."""
        return all(self._holds(part) for part in versions.replace(" ", "").split(",") if part)

    def _holds(self, part: str) -> bool:
        match = re.fullmatch(r"(>=|<=|==|>|<)([\d.]+)", part)
        if match is None:
            raise ValueError(f"not a range of versions: {part}")
        bound = numbers(match[2])
        own = numbers(self.version)[: len(bound)]
        own += (0,) * (len(bound) - len(own))
        return {">=": own >= bound, "<=": own <= bound, "==": own == bound, ">": own > bound, "<": own < bound}[
            match[1]
        ]

    def __str__(self) -> str:
        return f"{self.backend} {self.version}"


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))
