"""The inputs of a model: names, dtypes, and the range of every dimension."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    shapes: tuple[tuple[int, ...], ...] = ()
    """Two or more fixed shapes that were asked for one by one; `dims` span them, and the first is the optimum."""

    @classmethod
    def static(cls, name: str, shape: Sequence[int], dtype: str = "float32") -> InputSpec:
        return cls(name=name, dtype=dtype, dims=tuple(Dim(min=d, opt=d, max=d) for d in shape))

    @classmethod
    def several(cls, name: str, shapes: Sequence[tuple[int, ...]], dtype: str = "float32") -> InputSpec:
        """Of shapes of the same rank."""
        dims = tuple(Dim(min=min(sizes), opt=sizes[0], max=max(sizes)) for sizes in zip(*shapes, strict=True))
        return cls(name=name, dtype=dtype, dims=dims, shapes=tuple(shapes))

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


def listed_shapes(specs: Sequence[InputSpec]) -> tuple[Mapping[str, tuple[int, ...]], ...]:
    """The shapes of all inputs for each of several fixed sets; empty where none were listed."""
    count = max((len(spec.shapes) for spec in specs), default=0)
    return tuple({spec.name: spec.shapes[i] if spec.shapes else spec.opt for spec in specs} for i in range(count))


def written(shapes: Mapping[str, Sequence[int]]) -> str:
    """`x:1x3x224x224`, several inputs with spaces."""
    return " ".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes.items())
