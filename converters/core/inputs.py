"""The inputs of a model: names, dtypes, and the range of every dimension."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.records import TensorInfo

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


def written(shapes: Mapping[str, Sequence[int | str]]) -> str:
    """`x:1x3x224x224`, several inputs with spaces."""
    return " ".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes.items())


def specs_by_name(inputs: Sequence[TensorInfo], given: Sequence[InputSpec]) -> dict[str, InputSpec]:
    """What was given, by the names of the inputs: one alone needs none. Raises UserError for a name that no input has."""
    names = [info.name for info in inputs]
    if len(given) == 1 and not given[0].name and len(inputs) == 1:
        given = [given[0].model_copy(update={"name": names[0]})]
    by_name = {spec.name: spec for spec in given}
    for name in by_name:
        if name not in names:
            wrong = f"has no input {name!r}" if name else "doesn't have one input, so that each needs its name"
            raise UserError(f"the model {wrong}; it has {', '.join(names) or 'none'}")
    return by_name


def resolve_inputs(inputs: Sequence[TensorInfo], given: Sequence[InputSpec]) -> tuple[InputSpec, ...]:
    """Shapes for the graph's inputs: its own where they are fixed, the given ones where they are not.

    Raises UserError for an unknown name, a conflict, a dynamic dimension without a size, or an unknown dtype.
    """
    by_name = specs_by_name(inputs, given)
    specs = []
    for info in inputs:
        written = "x".join(map(str, info.shape))
        if info.dtype not in DTYPES:
            raise UserError(f"input {info.name} is a {info.dtype}, which can't be fed; one of {' '.join(DTYPES)}")
        spec = by_name.get(info.name)
        if spec is None:
            if not all(isinstance(size, int) for size in info.shape):
                raise UserError(
                    f"input {info.name} has dynamic dimensions ({written}); "
                    f"give their sizes, such as SHAPE={info.name}:1..4..8x… or fixed ones"
                )
            specs.append(InputSpec.static(info.name, [int(size) for size in info.shape], info.dtype))
            continue
        fits = len(spec.dims) == len(info.shape) and all(
            not isinstance(size, int) or (dim.min == dim.max == size)
            for size, dim in zip(info.shape, spec.dims, strict=True)
        )
        if not fits:
            raise UserError(f"the shape given for {info.name} doesn't fit the model's {written or 'scalar'}")
        if spec.dtype not in ("float32", info.dtype):  # float32 is what a shape without a dtype says
            raise UserError(f"input {info.name} holds {info.dtype}, not {spec.dtype}")
        specs.append(spec.model_copy(update={"dtype": info.dtype}))
    return tuple(specs)


def fixed_sizes(inputs: Sequence[TensorInfo], specs: Sequence[InputSpec]) -> Mapping[str, tuple[int | None, ...]]:
    """Sizes that the specs fix and the graph leaves open, by input, None for the other dimensions."""
    sizes = {
        info.name: tuple(
            None if isinstance(own, int) or dim.dynamic else dim.opt
            for own, dim in zip(info.shape, spec.dims, strict=True)
        )
        for info, spec in zip(inputs, specs, strict=True)
    }
    return {name: given for name, given in sizes.items() if any(size is not None for size in given)}
