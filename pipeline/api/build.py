"""From a model to its engines."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from enginesmith.converters.core.recipe import Recipe
from enginesmith.pipeline import report
from enginesmith.pipeline.api.objects import Inputs, Model, as_recipe
from enginesmith.pipeline.api.progress import listening
from enginesmith.pipeline.api.result import Result
from enginesmith.pipeline.job.builder import Builder, worker_environment
from enginesmith.pipeline.job.events import Event, Listener
from enginesmith.pipeline.job.plan import make_plan
from enginesmith.pipeline.job.recipe import make_recipe
from enginesmith.pipeline.job.results import LOGS, output_folder, write_results
from enginesmith.pipeline.job.store import Store


def build(
    model: Model,
    inputs: Inputs = None,
    *,
    kwargs: Mapping[str, Any] | None = None,
    store: str | Path | None = None,
    progress: bool | Listener | None = None,
    **options: Any,
) -> Result:
    """Build verified engines from a model, and return what was built.

        result = enginesmith.build("resnet50", precision="fp16", backend="tvm")
        result = enginesmith.build(module.eval(), torch.zeros(1, 3, 224, 224), precision="int8", calib=loader)
        outputs = result.engines[0](torch.zeros(1, 3, 224, 224))

    `model` is what the command line takes (a name, a path), a live `torch.nn.Module`, or an `onnx.ModelProto`.
    `inputs` are a module's example inputs: a tensor, a tuple or a list of its positional arguments, or a dict of arguments by
    name; `kwargs` are further ones by name. Each may be a dict, a list, a dataclass or another container of tensors, however
    nested; numbers, texts and None are constants of the engine. Shapes and dtypes of the tensors are those of the engine,
    unless `shape` gives others, and the engine is called as the module is. The module itself is left as it is: a worker
    loads a copy, imports its classes from their files where they have any, and puts it into eval mode.
    `store` is the artifact store, `ENGINESMITH_STORE` where left out: a second build of the same comes from there.
    `progress` shows what goes on where it is True; a function gets every `Event`.

    The other keywords are the fields of `Recipe`, as on the command line. `calib` and `eval` also take an iterable of inputs
    or of (inputs, target), such as a DataLoader, of which at most `examples` and `evaluated` are read, once; or a function
    that returns one. `metric` also takes a function of (outputs, targets): lists with a dictionary of arrays and a target
    for each run; higher is better. `finetune` also takes a function that trains the module that it is given, in place.

    Raises UserError for a request that can't be met; BuildError, a ConversionError, for a stage that failed, with its
    cause, its remedy and the `result`. With `keep_going` a failure is recorded in the result and not raised.
    """
    place = Store(store)
    with as_recipe(model, inputs, options, place, kwargs) as values, listening(progress) as listener:
        recipe = make_recipe(values)
        result = run(recipe, place, listener)
    if not recipe.keep_going:
        result.raise_for_failure()
    return result


def run(recipe: Recipe, store: Store, listener: Listener) -> Result:
    """Build what a recipe says. Raises UserError; a stage that failed is in the result."""
    started = time.monotonic()
    plan = make_plan(recipe)
    with output_folder(recipe, plan) as folder:
        logs = folder / LOGS
        logs.mkdir(exist_ok=True)
        with (logs / "events.jsonl").open("w") as event_log:

            def listen(event: Event) -> None:
                if event.event != "log":  # that is in the stage's own log
                    event_log.write(event.model_dump_json(exclude_defaults=True) + "\n")
                    event_log.flush()
                listener(event)

            listen(Event(event="plan", total=len(plan.stages)))
            build = Builder(store, recipe, logs, listen, worker_environment(recipe)).run(plan)
    manifest = write_results(folder, recipe, plan, build, store, time.monotonic() - started)
    report.write(manifest, folder / "report.html")
    return Result(folder, manifest, tuple(build.bugs))


def with_fields(function: Callable[..., Any]) -> None:
    """Show the recipe's fields as a function's keywords, in `help` and in notebooks."""
    signature = inspect.signature(function)
    own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    fields = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=each.annotation)
        for name, each in Recipe.model_fields.items()
        if name not in signature.parameters
    ]
    function.__signature__ = signature.replace(parameters=[*own, *fields])  # type: ignore[attr-defined]


with_fields(build)
