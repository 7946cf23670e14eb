"""The inputs of a model: names, dtypes, and the range of every dimension."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

DTYPES = (
    "float32",
    "float16",
    "float64",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint64",
    "uint32",
    "uint16",
    "uint8",
    "bool",
)


class Dim(BaseModel):
    """One dimension: equal bounds when it is static."""

    model_config = ConfigDict(frozen=True)

    min: int
    opt: int
    max: int

    @property
    def dynamic(self) -> bool:
        return self.min != self.max

    def unseen(self) -> int:
        """A size within the bounds that is none of the three, if there is one; else the minimum."""
        named = {self.min, self.opt, self.max}
        middle = (self.min + self.max) // 2
        likely = (middle, middle + 1, self.opt + 1, self.opt - 1, self.min + 1, self.max - 1)
        return next((s for s in likely if self.min < s < self.max and s not in named), self.min)


class InputSpec(BaseModel):
    """One input. `name` is empty until the model has told its own."""

    model_config = ConfigDict(frozen=True)

    name: str = ""
    dtype: str = "float32"
    dims: tuple[Dim, ...]

    @classmethod
    def static(cls, name: str, shape: Sequence[int], dtype: str = "float32") -> InputSpec:
        return cls(name=name, dtype=dtype, dims=tuple(Dim(min=d, opt=d, max=d) for d in shape))

    @property
    def dynamic(self) -> bool:
        return any(dim.dynamic for dim in self.dims)

    @property
    def min(self) -> tuple[int, ...]:
        return tuple(dim.min for dim in self.dims)

    @property
    def opt(self) -> tuple[int, ...]:
        return tuple(dim.opt for dim in self.dims)

    @property
    def max(self) -> tuple[int, ...]:
        return tuple(dim.max for dim in self.dims)

    @property
    def unseen(self) -> tuple[int, ...]:
        return tuple(dim.unseen() if dim.dynamic else dim.opt for dim in self.dims)
