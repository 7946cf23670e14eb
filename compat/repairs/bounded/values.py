"""What stands for a tensor whose shape depends on the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from enginesmith.compat.repairs.bounded.dims import Dim, Least, bound, is_static

Size = int | Dim | Least
"""One element of a vector of sizes."""


@dataclass(frozen=True)
class Positions:
    """Says that a tensor's numbers are row numbers: of the padded tensor, not of the original one.

    `of` has the dimension that the rows are of; several where `columns` is the tensor's axis along which there is one
    number for each. `identity` promises that row i holds the number i (of the flattened dimensions).
    """

    of: tuple[Dim, ...]
    identity: bool = False
    columns: int | None = None

    def pick(self, chosen: Sequence[int]) -> Positions:
        """Those of some columns."""
        identity = self.identity and list(chosen) == list(range(len(self.of)))
        return Positions(tuple(self.of[index] for index in chosen), identity, self.columns)

    def moved(self) -> Positions:
        """Those of rows that were taken from here in some order."""
        return Positions(self.of, False, self.columns)


@dataclass(frozen=True)
class Bounded:
    """A tensor with all rows that there could be: `dims` tell which are real; the others hold arbitrary numbers.

    `value` is None for a vector of `sizes` that nothing has asked for as a tensor yet.
    """

    value: ir.Value | None
    dims: tuple[Dim, ...]
    positions: Positions | None = None
    sizes: tuple[Size, ...] | None = None

    @property
    def shape(self) -> list[int]:
        return [bound(part) for part in self.dims]

    @property
    def static(self) -> bool:
        return all(map(is_static, self.dims))
