"""Sizes that a model takes only together, or only as multiples of something: found by running it at sizes of which none is
like another.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from math import gcd
from typing import TypeAlias

from enginesmith.converters.core.inputs import Dim, InputSpec
from enginesmith.converters.core.samples import Feed, Pixels
from enginesmith.converters.core.sizes import names_in, value_of
from enginesmith.converters.data.samples import Own, make_samples

Place: TypeAlias = tuple[int, int]
"""Number of an input, and an axis of it."""
Forms: TypeAlias = Mapping[Place, Dim]
"""The dimensions of which more is known than was said."""
Accepts: TypeAlias = Callable[[Sequence[InputSpec]], bool]
LARGEST_FACTOR = 64
MOST_RUNS = 12
"""Of the model, to find out which of the ties it needs."""


def settle(specs: Sequence[InputSpec], names: Sequence[Sequence[int | str]], accepts: Accepts) -> tuple[InputSpec, ...]:
    """The inputs with the sizes linked that the model takes only together, by what `accepts` says of it at sizes that were not
    tried yet: none if it takes them so; else those that the graph calls by one name (`names` are its sizes, input by
    input), else those that are equal, or a sum or a multiple of others, at minimum, optimum and maximum, as few as can be.
    Where it takes none of these, multiples are tried of what divides a range's ends. Sizes that the user has linked stay so.

    The source of the first rule: torch.export calls two sizes one where a run at unequal ones fails.
    """
    free = {(i, axis): dim for i, spec in enumerate(specs) for axis, dim in enumerate(spec.dims) if _free(dim)}
    if not free or any(spec.shapes for spec in specs):
        return tuple(specs)
    tried: list[Forms] = []

    def takes(forms: Forms) -> bool:
        if forms in tried:
            return False
        tried.append(forms)
        return accepts(_with(specs, forms))

    def needs_less(forms: Forms) -> bool:
        return len(tried) < MOST_RUNS and takes(forms)

    multiples = {place: dim.model_copy(update={"step": gcd(*dim.bounds)}) for place, dim in free.items()}
    for dims in (free, multiples):
        for forms in ({}, _by_name(specs, names, dims), _found(specs, dims)):
            if takes(whole := {**dims, **forms}):
                return _with(specs, _without_names(_without_multiples(whole, needs_less), free, needs_less))
    return tuple(specs)


def accepts(own: Own, task: str, run: Callable[[Feed], object], pixels: Pixels) -> Accepts:
    """Does a model take its inputs at sizes that nothing else is tried at? `run` raises where it doesn't."""

    def taken(specs: Sequence[InputSpec]) -> bool:
        for way in own.ways(specs):
            samples, feeds = make_samples(specs, task, 1, 0, pixels=pixels, own=own, way=way)
            feed = next(f for s, f in zip(samples.samples, feeds, strict=True) if s.name == "unseen size")
            try:
                run(feed)
            except Exception:  # noqa: BLE001 - a stranger's forward may raise anything, and so may ONNX Runtime
                traceback.print_exc()
            else:
                return True
        return False

    return taken


def _free(dim: Dim) -> bool:
    return dim.dynamic and not dim.form and dim.step == 1


def _with(specs: Sequence[InputSpec], forms: Forms) -> tuple[InputSpec, ...]:
    return tuple(
        spec.model_copy(update={"dims": tuple(forms.get((i, axis), dim) for axis, dim in enumerate(spec.dims))})
        for i, spec in enumerate(specs)
    )


def _without_multiples(forms: Forms, takes: Callable[[Forms], bool]) -> Forms:
    """Without those steps that the model doesn't need, one after the other; sizes of one name have one."""
    kept = forms
    for place, dim in forms.items():
        group = {p for p, d in forms.items() if p == place or (dim.form and d.form == dim.form)}
        if dim.step > 1 and place == min(group):
            fewer = {p: d.model_copy(update={"step": 1}) if p in group else d for p, d in kept.items()}
            kept = fewer if takes(fewer) else kept
    return kept


def _without_names(forms: Forms, free: Forms, takes: Callable[[Forms], bool]) -> Forms:
    """Without those ties that the model doesn't need, one after the other."""
    kept = forms
    for place, dim in forms.items():
        if dim.form and not _is_named_after(place, dim, kept):
            fewer = {**kept, place: free[place].model_copy(update={"step": dim.step})}
            kept = fewer if takes(fewer) else kept
    used = [name for dim in kept.values() if dim.form for name in names_in(dim.form)]
    return {
        place: dim.model_copy(update={"form": ""}) if used.count(dim.form) == 1 else dim for place, dim in kept.items()
    }


def _is_named_after(place: Place, dim: Dim, forms: Forms) -> bool:
    """Is it the one that others of its name, or expressions, hang on?"""
    return dim.form.isidentifier() and next(p for p, d in forms.items() if d.form == dim.form) == place


def _by_name(specs: Sequence[InputSpec], names: Sequence[Sequence[int | str]], free: Forms) -> Forms:
    """Sizes with one name in the graph and one range, and those whose name is an expression of others."""
    called = {place: str(names[place[0]][place[1]]) for place in free} if names else {}
    bounds: dict[str, set[tuple[int, int, int]]] = {}
    for place, name in called.items():
        bounds.setdefault(name, set()).add(free[place].bounds)
    plain = {name: next(iter(each)) for name, each in bounds.items() if name.isidentifier() and len(each) == 1}
    forms = {place: name for place, name in called.items() if name in plain}
    for place, name in called.items():
        try:
            parts = names_in(name)
        except ValueError:
            continue
        if name in plain or not parts or not all(part in plain for part in parts):
            continue
        sizes = [value_of(name, {part: plain[part][at] for part in parts}) for at in range(3)]
        if tuple(sizes) == free[place].bounds:
            forms[place] = name
    used = [name for form in forms.values() for name in names_in(form)]
    taken = _names(specs)
    return {
        place: free[place].model_copy(update={"form": form})
        for place, form in forms.items()
        if all(used.count(name) > 1 and name not in taken for name in names_in(form))
    }


def _found(specs: Sequence[InputSpec], free: Forms) -> Forms:
    """Sizes with one range under one name, those on first axes as `batch`; a range that is the sum of two others, a multiple
    of another, or another and a constant, as an expression."""
    taken = _names(specs)
    symbols: dict[tuple[int, int, int], str] = {}
    for (i, axis), dim in free.items():
        name = "batch" if axis == 0 else re.sub(r"\W", "_", f"{specs[i].name}_{axis}", flags=re.ASCII)
        while name in taken or name in symbols.values() or not name.isidentifier():
            name = f"_{name}"
        symbols.setdefault(dim.bounds, name)
    derived: dict[tuple[int, int, int], str] = {}
    for whole in sorted(symbols, key=lambda each: each[::-1], reverse=True):
        parts = {each: name for each, name in symbols.items() if each != whole and each not in derived}
        if form := next(_expressions(whole, parts), ""):
            derived[whole] = form
    forms = {place: derived.get(dim.bounds, symbols[dim.bounds]) for place, dim in free.items()}
    used = [name for form in forms.values() for name in names_in(form)]
    return {
        place: free[place].model_copy(update={"form": form})
        for place, form in forms.items()
        if all(used.count(name) > 1 for name in names_in(form))
    }


def _expressions(whole: tuple[int, int, int], parts: Mapping[tuple[int, int, int], str]) -> Iterator[str]:
    for one, other in combinations(parts, 2):
        if tuple(a + b for a, b in zip(one, other, strict=True)) == whole:
            yield f"{parts[one]}+{parts[other]}"
    for part, name in parts.items():
        factor = whole[1] // part[1]
        if 1 < factor <= LARGEST_FACTOR and tuple(factor * size for size in part) == whole:
            yield f"{factor}*{name}"
    for part, name in parts.items():
        if len({a - b for a, b in zip(whole, part, strict=True)}) == 1 and whole > part:
            yield f"{name}+{whole[0] - part[0]}"


def _names(specs: Sequence[InputSpec]) -> set[str]:
    return {name for spec in specs for dim in spec.dims if dim.form for name in names_in(dim.form)}
