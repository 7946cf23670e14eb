"""ONNX Runtime on the CPU, as the reference that other runners are compared with and measured against."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from polygraphy.backend.onnxrt import OnnxrtRunner

WRONG = ("Pad_Fusion",)
"""Optimizers that change what a graph computes. This one lets a MaxPool do the Pad of zeros before it, which it does with -inf: the
largest of negative numbers and a 0 is then negative (measured with onnxruntime 1.31)."""


def is_quantized(model: Path) -> bool:
    """Whether the graph in an ONNX file holds Q/DQ nodes or products of integers; weights beside it are not read."""
    from enginesmith.converters.graphs.coarse import integer, operators

    return integer(operators(model))


def session(
    model: Path | bytes,
    *,
    threads: int | None = None,
    optimize: bool = True,
    profile: Path | None = None,
    written: Path | None = None,
    shipped: bool = False,
) -> Any:
    """An `onnxruntime.InferenceSession` for an ONNX file, its external data beside it, or for the bytes of a small one.

    `threads` bounds the threads within an operator (None: one per core). `optimize=False` runs the graph as written:
    the fused U8S8 kernels for Q/DQ models saturate on AVX2 without VNNI (measured: 0.7 off), so that
    an optimized session is no reference for them. `profile` is the start of the name of a file for the times of
    all kernels, which `end_profiling` returns; `written` takes the graph that runs, its weights beside it. What it has no
    kernel for in a type is computed in float32; see `opened`. What it computes too coarsely a file is given in other operators,
    see `faithful`; `shipped` leaves it as it is, for who takes the time.
    """
    return opened(model, threads=threads, optimize=optimize, profile=profile, written=written, shipped=shipped).session


class Opened(NamedTuple):
    """A session, and the operators that it computes in float32 in place of their own type: `Conv in float64`."""

    session: Any
    widened: list[str]


def opened(
    model: Path | bytes,
    *,
    threads: int | None = None,
    optimize: bool = True,
    profile: Path | None = None,
    written: Path | None = None,
    shipped: bool = False,
) -> Opened:
    """As `session`, and what had to be widened for want of a kernel."""
    options = _options(threads, optimize, profile, written)
    try:
        return Opened(_session(model, options) if shipped else _exact(model, options), [])
    except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
        from enginesmith.converters.graphs.kernels import lacking

        if isinstance(model, bytes) or not lacking(error):
            raise
        return _widened(model, options, error)


def _widened(model: Path, options: Any, error: Exception) -> Opened:
    """Widen what ONNX Runtime lacks, one operator after the other, as it names them."""
    from enginesmith.compat.saving import save
    from enginesmith.converters.graphs import kernels

    graph, done = kernels.load(model), list[str]()
    with tempfile.TemporaryDirectory(prefix="enginesmith-") as folder:
        while operator := kernels.lacking(error):
            found = kernels.widen(graph, operator)
            if not found:
                break
            done += found
            save(graph, Path(folder) / model.name)
            try:
                made = _session(Path(folder) / model.name, options, WRONG)
            except Exception as other:  # noqa: BLE001 - as above
                error = other
            else:
                print(kernels.told(done))
                return Opened(made, done)
    raise error


def _exact(model: Path | bytes, options: Any) -> Any:
    """A session of a graph in operators that are computed well."""
    from enginesmith.converters.graphs.coarse import coarse, operators

    if isinstance(model, bytes) or not coarse(operators(model)):
        return _session(model, options, WRONG)
    from enginesmith.converters.graphs.faithful import exact

    with exact(model) as path:
        return _session(path, options, WRONG)


def _session(model: Path | bytes, options: Any, without: Sequence[str] = ()) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=[*without],
    )


def _options(threads: int | None, optimize: bool, profile: Path | None, written: Path | None) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Its threads wait actively for the next inference otherwise, and take the cores from whatever runs after it here.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    if written is not None:
        options.log_severity_level = 3  # it warns that what it writes is for this machine
        options.optimized_model_filepath = str(written)
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", f"{written.name}.data"
        )
    return options


def runner(
    model: Path, *, threads: int | None = None, optimize: bool | None = None, name: str = "", shipped: bool = False
) -> OnnxrtRunner:
    """A Polygraphy runner over `session`, which it makes when it is activated.

    `optimize=None` decides by the graph: off for Q/DQ models, on for all others. `shipped` as for a session.
    """
    from polygraphy.backend.onnxrt import OnnxrtRunner

    def load() -> Any:
        optimized = not is_quantized(model) if optimize is None else optimize
        return session(model, threads=threads, optimize=optimized, shipped=shipped)

    return OnnxrtRunner(load, name=name or "onnxruntime")
