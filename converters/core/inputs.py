"""The inputs of a model: names, dtypes, and the range of every dimension."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from enginesmith.converters.core.errors import UserError
from enginesmith.converters.core.records import TensorInfo
from enginesmith.converters.core.sizes import untried, value_of

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
    """One dimension, or the values of an input: equal bounds when it is static."""

    model_config = ConfigDict(frozen=True)

    min: int
    opt: int
    max: int
    form: str = ""
    """What it is in named sizes: a name of its own that others may hang on, or an expression of such as `p+s`. Empty for one
    that hangs together with no other."""
    step: int = 1
    """What its sizes are multiples of."""

    @property
    def dynamic(self) -> bool:
        return self.min != self.max

    @property
    def bounds(self) -> tuple[int, int, int]:
        return self.min, self.opt, self.max


class InputSpec(BaseModel):
    """One input. `name` is empty until the model has told its own."""

    model_config = ConfigDict(frozen=True)

    name: str = ""
    dtype: str = "float32"
    dims: tuple[Dim, ...]
    shapes: tuple[tuple[int, ...], ...] = ()
    """Two or more fixed shapes that were asked for one by one; `dims` span them, and the first is the optimum."""
    values: Dim | None = None
    """What its elements may be, of integers that decide on sizes; None where that isn't said."""
    shaped: bool = True
    """False where nothing but `values` was said: its shape is the model's own."""

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
        """Is there a range, of sizes or of values?"""
        return any(dim.dynamic for dim in self.dims) or (self.values is not None and self.values.dynamic)

    def with_values(self, given: InputSpec | None) -> InputSpec:
        """With the range of values that was given, if any. Raises UserError where it holds no integers."""
        if given is None or given.values is None:
            return self
        if "int" not in self.dtype:
            raise UserError(f"input {self.name} is {self.dtype}: a range of values ({self.name}=…) is for integers")
        return self.model_copy(update={"values": given.values})

    @property
    def min(self) -> tuple[int, ...]:
        return tuple(dim.min for dim in self.dims)

    @property
    def opt(self) -> tuple[int, ...]:
        return tuple(dim.opt for dim in self.dims)

    @property
    def max(self) -> tuple[int, ...]:
        return tuple(dim.max for dim in self.dims)


def at(specs: Sequence[InputSpec], place: Literal["min", "opt", "max", "unseen"]) -> tuple[InputSpec, ...]:
    """The inputs with every range of sizes or values fixed at its minimum, optimum or maximum, or as `unseen` has it."""
    return unseen(specs) if place == "unseen" else chosen(specs, lambda dim: int(getattr(dim, place)))


def unseen(specs: Sequence[InputSpec]) -> tuple[InputSpec, ...]:
    """The inputs with every range of sizes or values fixed at one that is neither its minimum, optimum nor maximum, if there
    is such a one. Sizes that hang together do so there too, and others differ from each other where they can.
    """
    taken: set[int] = set()

    def choose(dim: Dim) -> int:
        if not dim.dynamic:
            return dim.opt
        low, opt, high = (bound // dim.step for bound in dim.bounds)
        others = {other // dim.step for other in taken}
        size = untried(low, high, {low, opt, high, *others})
        if size <= low:  # then rather one that was named than the size of another range, which would hide a tie
            size = next((named for named in (high, opt, low) if others and named not in others), size)
            size = size if size > low else untried(low, high, (low, opt, high))
        size *= dim.step
        taken.add(size)
        return size

    return chosen(specs, choose)


def chosen(specs: Sequence[InputSpec], choose: Callable[[Dim], int]) -> tuple[InputSpec, ...]:
    """The inputs with every size and value fixed. `choose` is asked once for each name, and for each range without one;
    expressions follow from the names.
    """
    sizes = {name: choose(dim) for name, dim in named_sizes(specs).items()}

    def fixed(dim: Dim) -> Dim:
        size = value_of(dim.form, sizes) if dim.form else choose(dim)
        return Dim(min=size, opt=size, max=size)

    return tuple(
        spec.model_copy(
            update={"dims": tuple(map(fixed, spec.dims)), "values": None if spec.values is None else fixed(spec.values)}
        )
        for spec in specs
    )


def named_sizes(specs: Sequence[InputSpec]) -> dict[str, Dim]:
    """The ranges of the names that other sizes may hang on."""
    dims = [dim for spec in specs for dim in (*spec.dims, *((spec.values,) if spec.values else ()))]
    return {dim.form: dim for dim in dims if dim.form.isidentifier()}


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
        spec = by_name.get(info.name)
        if info.dtype not in DTYPES:
            raise UserError(f"input {info.name} is a {info.dtype}, which can't be fed; one of {' '.join(DTYPES)}")
        if spec is None or not spec.shaped:
            if not all(isinstance(size, int) for size in info.shape):
                raise UserError(
                    f"input {info.name} has dynamic dimensions ({written}); "
                    f"give their sizes, such as SHAPE={info.name}:1..4..8x… or fixed ones"
                )
            own = InputSpec.static(info.name, [int(size) for size in info.shape], info.dtype)
            specs.append(own.with_values(spec))
            continue
        # the first size may be a batch that is to be changed
        fits = len(spec.dims) == len(info.shape) and all(
            not isinstance(size, int) or (dim.min == dim.max == size) or (axis == 0 and len(info.shape) > 1)
            for axis, (size, dim) in enumerate(zip(info.shape, spec.dims, strict=True))
        )
        if not fits:
            raise UserError(f"the shape given for {info.name} doesn't fit the model's {written or 'scalar'}")
        # float32 is what a shape without a dtype says, and int64 what values do
        if spec.dtype not in ("float32" if spec.values is None else "int64", info.dtype):
            raise UserError(f"input {info.name} holds {info.dtype}, not {spec.dtype}")
        specs.append(spec.model_copy(update={"dtype": info.dtype}).with_values(spec))
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
