"""What is asked about one candidate. Runs in an `Isolated` process: arguments and results are JSON."""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import onnx
from numpy.typing import NDArray

from enginesmith.compat.evaluator import evaluator
from enginesmith.converters.bisect.conditions import Condition
from enginesmith.converters.bisect.feeds import Feed, known_values, make_feed
from enginesmith.converters.core.errors import UserError, first_line
from enginesmith.converters.graphs.tolerances import Apart

if TYPE_CHECKING:
    from polygraphy.backend.base import BaseRunner

FEEDS = 3
"""Made-up inputs on which an engine is held against itself."""
Standard = Literal["nothing", "checked", "inferred", "loads", "runs"]
"""How sound a model is, each level containing those before it: it passes `onnx.checker`; its shapes contradict each
other nowhere; ONNX Runtime loads it; ONNX Runtime runs it on made-up inputs."""
STANDARDS: tuple[Standard, ...] = ("nothing", "checked", "inferred", "loads", "runs")


def standard_of(path: str, most: Standard = "runs") -> Standard:
    """The highest standard up to `most` that a file meets."""
    reached: Standard = "nothing"
    for level in STANDARDS[1 : STANDARDS.index(most) + 1]:
        try:
            _STANDARD_TESTS[level](Path(path))
        except Exception:  # noqa: BLE001 - whatever a tool raises, the level is not met
            return reached
        reached = level
    return reached


def examine(path: str, condition: dict[str, Any], standard: Standard, profile: dict[str, Any]) -> dict[str, Any] | None:
    """How the file at `path` fails: a `Failure` as a dict; None where it doesn't, or falls short of `standard`.

    `profile` is as in BuildRequest; inputs that the file doesn't have are left out. Raises UserError where the
    condition can't be asked.
    """
    if standard_of(path, standard) != standard:
        return None
    return ask(Path(path), Condition.model_validate(condition), profile)


def ask(path: Path, condition: Condition, profile: Mapping[str, Any]) -> dict[str, Any] | None:
    match condition.kind:
        case "check":
            return _raises(lambda: onnx.checker.check_model(str(path), full_check=True))
        case "load":
            return _raises(lambda: _session(path))
        case "run":
            return _raises(lambda: run_onnxruntime(path, make_feed(_graph(path))))
        case "parse":
            return _parse(path, condition)
        case "build":
            return _build(path, condition, profile)
        case "differs":
            return _differs(path, condition)
        case "inconsistent":
            return _inconsistent(path, condition)
    raise AssertionError(condition.kind)


def run_onnxruntime(path: Path, feed: Feed, names: Sequence[str] | None = None) -> list[NDArray[Any]]:
    """Outputs of an unoptimized session: what the graph says, node by node."""
    session = _session(path)
    outputs: list[NDArray[Any]] = session.run(list(names) if names is not None else None, feed)
    return outputs


def run_engine(
    name: str, path: Path, feed: Feed, target: str, settings: Mapping[str, bool] | None = None
) -> list[NDArray[Any]]:
    """Outputs of the engine of a backend called `name`; `settings` are fields of a BuildRequest. Raises ConversionError
    where that doesn't take the graph."""
    with built(name, path, target, settings) as made, made as runner:
        results = runner.infer(feed)
        return [results[output.name].copy() for output in _graph(path).graph.output]


@contextmanager
def built(name: str, path: Path, target: str, settings: Mapping[str, bool] | None = None) -> Iterator[BaseRunner]:
    """The runner of an engine of a static graph, as long as it is there. Raises ConversionError where the backend called
    `name` doesn't take the graph."""
    from enginesmith.converters.backends import get_backend
    from enginesmith.converters.backends.base import BuildRequest
    from enginesmith.converters.core.stage import Context

    backend = get_backend(name)
    with tempfile.TemporaryDirectory(prefix="enginesmith-") as folder:
        out = Path(folder)
        request = BuildRequest(onnx=path, target=target, profile={}, out=out, **(settings or {}))  # type: ignore[arg-type]
        backend.build(request, Context(out=out, scratch=out, cache=out))
        yield backend.runner(out / backend.engine_file)


def _graph(path: Path) -> onnx.ModelProto:
    return onnx.load(str(path), load_external_data=False)


def _session(path: Path) -> Any:
    import onnxruntime

    from enginesmith.converters.graphs.onnxruntime import session

    onnxruntime.set_default_logger_severity(4)
    return session(path, optimize=False)


_STANDARD_TESTS: Mapping[Standard, Any] = {
    "checked": lambda path: onnx.checker.check_model(str(path)),
    "inferred": lambda path: onnx.checker.check_model(str(path), full_check=True),
    "loads": _session,
    "runs": lambda path: run_onnxruntime(path, make_feed(_graph(path))),
}


def _failure(step: str, message: str, node: str = "", op: str = "") -> dict[str, Any]:
    return {"step": step, "message": " ".join(message.split()), "node": node, "op": op}


def _raises(call: Any) -> dict[str, Any] | None:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - the failure that is looked for
        return _failure(type(error).__name__, first_line(error) if len(str(error)) > 2000 else str(error))
    return None


def _parse(path: Path, condition: Condition) -> dict[str, Any] | None:
    """The part of a trial that reads the graph, without the build."""
    from enginesmith.converters.backends import get_backend

    rejection = get_backend(condition.backend).parse(path)
    return None if rejection is None else _failure(**rejection.model_dump())


def _build(path: Path, condition: Condition, profile: Mapping[str, Any]) -> dict[str, Any] | None:
    from enginesmith.converters.backends.trial import trial

    model = _graph(path)
    names = {value.name for value in model.graph.input}
    fitting = {name: shapes for name, shapes in profile.items() if name in names}
    rejection = trial(condition.backend, str(path), condition.target, fitting, known_values(model))
    return None if rejection is None else _failure(**rejection)


def _differs(path: Path, condition: Condition) -> dict[str, Any] | None:
    """Raises UserError where a side can't run the model: that is no difference."""
    try:
        feed = make_feed(_graph(path))
        expected = _run(condition.expected, path, feed, condition.target)
        found = _run(condition.found, path, feed, condition.target)
    except Exception as error:  # noqa: BLE001 - each side raises what it likes
        raise UserError(f"whether it {condition.text} can't be asked: {first_line(error)}") from None
    for output, a, b in zip(_graph(path).graph.output, expected, found, strict=True):
        if a.shape != b.shape:
            return _failure("differs", f"output {output.name} has shape {list(b.shape)}, not {list(a.shape)}")
        if (excess := Apart.of(a, b).excess(condition.scale, condition.relative)) > 1:
            return _failure("differs", f"output {output.name} differs by {excess:.3g} times the tolerance")
    return None


def _inconsistent(path: Path, condition: Condition) -> dict[str, Any] | None:
    """Raises UserError where it can't be run: that is no contradiction."""
    from enginesmith.converters.core.samples import Sample, SampleSet
    from enginesmith.converters.graphs.onnxruntime import runner
    from enginesmith.converters.graphs.self_checks import self_checks

    graph = _graph(path)
    with ExitStack() as stack:
        try:
            feeds = [OrderedDict(make_feed(graph, seed)) for seed in range(FEEDS)]
            made = (
                runner(path)
                if condition.found == "onnxruntime"
                else stack.enter_context(built(condition.found, path, condition.target))
            )
            samples = SampleSet(task="tensor", specs=(), samples=[Sample(name=f"seed {n}") for n in range(FEEDS)])
            checks = self_checks(made, condition.found, path, samples, feeds, "fp32")
            if checks[0].verdict == "not run":
                raise RuntimeError(checks[0].reason)
        except Exception as error:  # noqa: BLE001 - each side raises what it likes
            raise UserError(f"whether it is {condition.text} can't be asked: {first_line(error)}") from None
    failed = next((each for each in checks if each.verdict == "fail"), None)
    return None if failed is None else _failure("inconsistent", f"{failed.check}: {failed.reason}")


def _run(side: str, path: Path, feed: Feed, target: str) -> list[NDArray[Any]]:
    if side == "onnxruntime":
        return run_onnxruntime(path, feed)
    if side != "reference":
        return run_engine(side, path, feed, target)
    import onnx

    return list(evaluator(onnx.load(str(path))).run(None, feed))
