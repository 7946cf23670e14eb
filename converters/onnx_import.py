"""An ONNX file from outside: checked, copied with its external data, with sample inputs and its own outputs for them."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from enginesmith.converters.backends import onnxruntime
from enginesmith.converters.errors import ConversionError, UserError, first_line
from enginesmith.converters.files import hash_file
from enginesmith.converters.graph import describe
from enginesmith.converters.inputs import DTYPES, InputSpec
from enginesmith.converters.records import TensorInfo, Weights
from enginesmith.converters.samples import Array, Feed, Pixels, make_samples, save_results
from enginesmith.converters.stage import MODEL, Context, Facts, Options, Stage

if TYPE_CHECKING:
    import onnx


class ImportOptions(Options):
    """`sha256` only makes the file's content part of the stage's key."""

    path: Path
    sha256: str
    inputs: tuple[InputSpec, ...]
    samples: int
    seed: int
    task: str
    pixels: Pixels | None = None


class OnnxImport(Stage[ImportOptions]):
    """The reference outputs come from ONNX Runtime without its optimizations: the graph as it is written."""

    name = "import"
    options = ImportOptions
    packages = ("onnx", "onnxruntime", "onnxruntime-gpu", "polygraphy")
    without_torch = True

    def run(self, inputs: Mapping[str, Path], options: ImportOptions, context: Context) -> Facts:
        model = load_graph(options.path)
        external = external_files(model, options.path)
        _check(options.path)
        _copy(model, external, options.path, context.out)
        facts = describe(context.out / MODEL)
        if not facts.inputs:
            raise UserError(f"{options.path.name} has no inputs: it computes a constant")
        specs = resolve_inputs(facts.inputs, options.inputs)
        task = options.task if options.task != "auto" else "tensor"
        samples, feeds = make_samples(specs, task, options.samples, options.seed, pixels=options.pixels or "unknown")
        samples.save(context.out, feeds)
        context.progress("reference outputs")
        save_results(
            context.out, "ONNX Runtime, unoptimized", _reference(context.out / MODEL, feeds, options.path.name)
        )
        sources = {str(options.path.parent / name): hash_file(options.path.parent / name) for name in external}
        weights = Weights(origin="model", detail=f"in {options.path.name}", sha256=options.sha256)
        return facts.model_copy(update={"weights": weights, "task": task, "source_files": sources})


def load_graph(path: Path) -> onnx.ModelProto:
    """The graph without its external data. Raises UserError for a file that is none."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror}") from None
    except (DecodeError, ValueError) as error:
        with path.open("rb") as file:
            head = file.read(64)
        if head.startswith(b"version https://git-lfs"):
            hint = "it is a Git LFS pointer; fetch the file itself with `git lfs pull`"
        elif head.isascii() and head.strip():
            hint = "it is a text file"
        else:
            hint = "it is truncated or something else"
        raise UserError(f"{path} is no ONNX file: {hint} ({error})") from None
    if not model.graph.node:
        raise UserError(f"{path} is no ONNX file, or its graph has no nodes")
    return model


def external_files(model: onnx.ModelProto, path: Path) -> list[str]:
    """External data files by relative name. Raises UserError for one that is missing or lies outside the folder."""
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    root = path.parent.resolve()
    names: dict[str, int] = {}
    for tensor in _all_tensors(model):
        if uses_external_data(tensor):
            info = ExternalDataInfo(tensor)
            names[info.location] = max(names.get(info.location, 0), (info.offset or 0) + (info.length or 0))
    for name, size in names.items():
        file = Path(os.path.normpath(root / name))
        if Path(name).is_absolute() or not file.is_relative_to(root) or not file.resolve().is_relative_to(root):
            raise UserError(
                f"{path} takes its weights from {name!r}, outside its folder; put that file beside the model"
            )
        if not file.is_file():
            raise UserError(f"{path} needs the external data file {file}, which is missing; put it beside the model")
        if file.stat().st_size < size:
            raise UserError(f"{file} is truncated: it has {file.stat().st_size} bytes, and the model needs {size}")
    return list(names)


def _all_tensors(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    from onnx.external_data_helper import _get_all_tensors

    return list(_get_all_tensors(model))


def _check(path: Path) -> None:
    import onnx

    try:
        onnx.checker.check_model(str(path))
    except onnx.checker.ValidationError as error:
        # custom operators have no schema, which the backends' own checks will judge
        if "No Op registered" not in str(error):
            raise UserError(f"{path} is not valid ONNX: {first_line(error)}") from None


def _copy(model: onnx.ModelProto, external: Sequence[str], path: Path, out: Path) -> None:
    """The model under its name in the store, and its external data, gathered in one file beside it."""
    import onnx

    if not external:
        (out / MODEL).write_bytes(path.read_bytes())
        return
    onnx.load_external_data_for_model(model, str(path.parent))
    onnx.save(model, str(out / MODEL), save_as_external_data=True, location=f"{MODEL}.data", size_threshold=1024)


def resolve_inputs(inputs: Sequence[TensorInfo], given: Sequence[InputSpec]) -> tuple[InputSpec, ...]:
    """Shapes for the graph's inputs: its own where they are fixed, the given ones where they are not.

    Raises UserError for an unknown name, a conflict, a dynamic dimension without a size, or an unknown dtype.
    """
    names = [info.name for info in inputs]
    if len(given) == 1 and not given[0].name and len(inputs) == 1:
        given = [given[0].model_copy(update={"name": names[0]})]
    by_name = {spec.name: spec for spec in given}
    for name in by_name:
        if name not in names:
            wrong = f"has no input {name!r}" if name else "doesn't have one input, so that each needs its name"
            raise UserError(f"the model {wrong}; it has {', '.join(names) or 'none'}")
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


def _reference(model: Path, feeds: Sequence[Feed], name: str) -> list[dict[str, Array]]:
    try:
        session = onnxruntime.session(model, optimize=False)
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's exceptions share no base but Exception
        traceback.print_exc()
        raise ConversionError(
            f"ONNX Runtime can't load {name}: {first_line(error)}",
            "without it there is nothing to compare with; check the file's opset and its custom operators",
        ) from None
    strange = [output.name for output in session.get_outputs() if not output.type.startswith("tensor(")]
    if strange:
        raise UserError(f"{name} returns {', '.join(strange)} as a sequence or a map; an engine returns tensors only")
    outputs = [output.name for output in session.get_outputs()]
    results = []
    for feed in feeds:
        try:
            results.append(dict(zip(outputs, session.run(None, dict(feed)), strict=True)))
        except Exception as error:  # noqa: BLE001 - as above
            traceback.print_exc()
            shapes = " ".join(f"{key}:{'x'.join(map(str, array.shape))}" for key, array in feed.items())
            raise UserError(f"{name} refuses the input {shapes}: {first_line(error)}; give another SHAPE") from None
    return results
