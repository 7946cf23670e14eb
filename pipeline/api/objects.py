"""Python objects of the user's as what a recipe holds: files in the store, under a hash of what they are."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from enginesmith.converters.core import live
from enginesmith.converters.core.errors import UserError, first_line
from enginesmith.converters.core.files import hash_file, record_files
from enginesmith.converters.core.fingerprint import fingerprint
from enginesmith.converters.core.hashing import hash_value, package_versions
from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.recipe import Recipe
from enginesmith.converters.stages.finetune import DISTILLED
from enginesmith.pipeline.job.entry import Entry
from enginesmith.pipeline.job.shapes import format_shapes
from enginesmith.pipeline.job.store import Store

if TYPE_CHECKING:
    import onnx
    import torch

Model: TypeAlias = "str | Path | torch.nn.Module | torch.export.ExportedProgram | onnx.ModelProto"
"""What the command line takes, or a model that lives in this process."""
Inputs: TypeAlias = "torch.Tensor | tuple[Any, ...] | list[Any] | Mapping[str, Any] | None"
"""A module's positional arguments, one without a tuple, or its arguments by name."""
Data: TypeAlias = "str | Path | Iterable[Any] | Callable[[], Iterable[Any]]"
"""What the command line takes, examples, or a function that gives them anew each time that it is called."""
Function: TypeAlias = "str | Path | Callable[..., Any]"

EVALUATED = 500
"""Examples of `eval` that are written, where the recipe doesn't say how many to look at."""
TOOLS = ("torch", "cloudpickle")
"""What a pickle may depend on beside Python."""
CODE_HINT = "give file.py:function, which makes it in the worker"

T = TypeVar("T")


@contextmanager
def as_recipe(
    model: Model,
    inputs: Inputs,
    options: dict[str, Any],
    store: Store,
    kwargs: Mapping[str, Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """The values of a recipe, whose files are kept in the store as long as the context lasts. Raises UserError."""
    # never a shared store: what others can write there is not for this process to unpickle
    local = Store(store.root)
    with local.workspace() as workspace:
        files = _Files(local, workspace)
        values = {**files.model(model, inputs, kwargs), **options}
        first = next(iter(_tensors((inputs, kwargs))), None)
        rows = int(first.shape[0]) if first is not None and first.ndim else 0
        defaults = Recipe(model="")
        taught = any(map(values.get, ("qat", "sparse", "prune"))) and not values.get("finetune")
        most = {
            "calib": max(values.get("examples") or defaults.examples, DISTILLED if taught else 0),
            "eval": values.get("evaluated") or EVALUATED,
        }
        for name, limit in most.items():
            if name in values:
                values[name] = files.data(values[name], name, limit + rows)
        for name in ("metric", "finetune"):
            if name in values:
                values[name] = files.function(values[name], name)
        yield values


class _Files:
    """Writes objects into a store, and pins them for a workspace."""

    def __init__(self, store: Store, workspace: Path) -> None:
        self.store = store
        self.workspace = workspace

    def model(self, model: Model, inputs: Inputs, kwargs: Mapping[str, Any] | None) -> dict[str, str]:
        """What it is called in a recipe, with the shapes of its inputs where the file can't hold them."""
        onnx, torch = sys.modules.get("onnx"), sys.modules.get("torch")
        given = _tensors((inputs, kwargs))
        if torch is not None and isinstance(model, torch.nn.Module):
            module = getattr(model, "_orig_mod", model)  # what torch.compile has wrapped
            if not isinstance(module, torch.jit.ScriptModule):
                return {"model": str(self.module(module, inputs, kwargs))}
            if any(each is not one for each, one in zip_longest(given, _as_tuple(inputs))):
                raise UserError("a ScriptModule takes tensors by position here; give it by a factory, file.py:factory")
            name = _named(module.original_name, "model")
            path = self.bytes(f"{name}.pt", lambda path: torch.jit.save(module, path))
            return {"model": str(path)} | ({"shape": _shapes(given)} if given else {})
        if inputs is not None or kwargs:
            raise UserError("inputs go with a torch.nn.Module; give a shape, such as shape='1x3x224x224'")
        if isinstance(model, str | Path):
            return {"model": str(model)}
        if torch is not None and isinstance(model, torch.export.ExportedProgram):
            return {"model": str(self.bytes("program.pt2", lambda path: torch.export.save(model, path)))}
        if onnx is not None and isinstance(model, onnx.ModelProto):
            content = model.SerializeToString(deterministic=True)
            name = _named(model.graph.name, "model")
            return {"model": str(self.bytes(f"{name}.onnx", lambda path: path.write_bytes(content)))}
        raise UserError(
            f"a model is a name, a path, a torch.nn.Module or an onnx.ModelProto, and no {type(model).__name__}"
        )

    def module(self, module: torch.nn.Module, inputs: Inputs, kwargs: Mapping[str, Any] | None) -> Path:
        name = type(module).__name__

        def write(path: Path) -> None:
            live.write_module(module, inputs, kwargs, path)

        return self.pickle(f"{name}{live.MODULE}", (module, inputs, kwargs), write, f"the module {name}")

    def data(self, data: Data, option: str, most: int) -> str:
        """`most`: examples that a stage can make use of."""
        if isinstance(data, str | Path):
            return str(data)
        if callable(data) and not hasattr(data, "__iter__") and not hasattr(data, "__getitem__"):
            return self.function(data, option)
        if not (hasattr(data, "__iter__") or (hasattr(data, "__getitem__") and hasattr(data, "__len__"))):
            raise UserError(f"{option} is a {type(data).__name__}; give an iterable of examples, a function, or a path")
        from enginesmith.converters.data.datasets.recorded import record

        return str(self.bytes(f"{type(data).__name__}{live.EXAMPLES}", lambda path: record(data, path, most)))

    def function(self, function: Function, option: str) -> str:
        """`path:name`, as for a function of a file."""
        if isinstance(function, str | Path):
            return str(function)
        if not callable(function):
            raise UserError(f"{option} is a {type(function).__name__}; give a function, or file.py:function")
        name = _named(getattr(function, "__name__", type(function).__name__), "function")

        def write(path: Path) -> None:
            live.write_function(function, path)

        return f"{self.pickle(f'{name}{live.FUNCTION}', function, write, f'{option} {name}')}:{name}"

    def pickle(self, name: str, value: object, write: Callable[[Path], None], what: str) -> Path:
        """A file with code: of this process's own, or what an earlier one wrote for an equal object."""
        try:
            key = hash_value([name, sys.version, package_versions(TOOLS), fingerprint(value)])
            path = self._put(key, name, write)
        except (UserError, OSError):
            raise
        except Exception as error:  # a stranger's `__reduce__` may raise anything
            traceback.print_exc()
            raise UserError(f"{what} can't be pickled: {first_line(error)}; {CODE_HINT}") from error
        live.made(path)
        return path

    def bytes(self, name: str, write: Callable[[Path], object]) -> Path:
        """A file whose content is its name."""
        written = self.workspace / name
        write(written)
        return self._put(hash_value([name, hash_file(written)]), name, lambda path: written.replace(path))

    def _put(self, key: str, name: str, write: Callable[[Path], object]) -> Path:
        self.store.pin(self.workspace, key)
        with self.store.lock(key):
            if self.store.lookup(key) is None:
                folder = self.workspace / key
                folder.mkdir()
                write(folder / name)
                files = record_files(folder)
                entry = Entry(
                    key=key, id=f"given {name}", stage="given", files=files, seconds=0.0, peak_memory_mb=0.0, tools={}
                )
                self.store.publish(entry, folder)
        return self.store.files(key) / name


def _tensors(arguments: tuple[Inputs, Mapping[str, Any] | None]) -> tuple[torch.Tensor, ...]:
    """All tensors of example inputs. Raises UserError where there is none though something was given."""
    if all(each is None for each in arguments):
        return ()
    from enginesmith.converters.torch_models.containers import leaves

    tensor = getattr(sys.modules.get("torch"), "Tensor", ())
    found = tuple(leaf for _, leaf in leaves(arguments, "") if isinstance(leaf, tensor)) if tensor else ()
    if not found:
        raise UserError("the inputs hold no tensor; give one at least, such as torch.zeros(1, 3, 224, 224)")
    return found


def _as_tuple(inputs: Inputs) -> tuple[Any, ...]:
    return () if inputs is None else tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)


def _shapes(inputs: tuple[torch.Tensor, ...]) -> str:
    specs = [
        InputSpec.static(
            f"input{i}" if len(inputs) > 1 else "", tuple(each.shape), str(each.dtype).removeprefix("torch.")
        )
        for i, each in enumerate(inputs)
    ]
    return format_shapes(tuple(specs))


def _named(name: str, otherwise: str) -> str:
    """As a file's name, and as an identifier."""
    plain = re.sub(r"\W+", "_", name).strip("_")
    return plain if plain.isidentifier() else otherwise
