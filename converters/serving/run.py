"""An engine, or a graph in ONNX Runtime, on files. Called by name in `Isolated`: arguments and results are JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from enginesmith.converters.core.inputs import InputSpec
from enginesmith.converters.core.samples import Pixels

RUN = f"{__name__}:run"


class RunOptions(BaseModel):
    """What is asked. `names` are those of the classes, where they are known; `task` is empty where it isn't."""

    model_config = ConfigDict(frozen=True)

    backend: str
    inputs: tuple[Path, ...]
    pixels: Pixels | None = None
    shape: tuple[InputSpec, ...] = ()
    task: str = ""
    names: tuple[str, ...] = ()
    top: int = 5
    score: float = 0.5
    save: Path | None = None
    threads: int | None = None


def run(file: str, told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An `Answer` for each input. `told` are `RunOptions`.

    Raises UserError for inputs that don't fit, ConversionError where the engine can't be loaded.
    """
    import numpy as np

    from enginesmith.converters.data.datasets import npz
    from enginesmith.converters.graphs import interface
    from enginesmith.converters.graphs.comparison import ONNXRUNTIME
    from enginesmith.converters.graphs.metadata import class_names
    from enginesmith.converters.serving import answers
    from enginesmith.converters.serving.feeds import changed as interface_of
    from enginesmith.converters.serving.inputs import listed, read
    from enginesmith.converters.serving.runners import runner_of, sized, specs_of

    options, path = RunOptions.model_validate(told), Path(file)
    files = listed(options.inputs)
    changed = interface_of(path, options.backend)
    names = options.names or (class_names(path) if options.backend == ONNXRUNTIME else [])
    found = []
    with runner_of(options.backend, path, options.threads) as runner:
        specs = sized(specs_of(runner, changed), options.shape)
        stretch = options.task == "detection" or set(_outputs(runner, path, options.backend)) >= answers.BOXES
        for given in read(files, specs, options.pixels, stretch=stretch):
            outputs = runner.infer(interface.fed(changed, given.feed), check_inputs=False)
            outputs = interface.fetched(changed, {name: np.asarray(array) for name, array in outputs.items()})
            answer = answers.Answer(
                input=given.name,
                seconds=runner.last_inference_time(),
                outputs=[answers.tensor(name, array) for name, array in outputs.items()],
            )
            if given.picture is not None or options.task == "classification":
                answer.classes = answers.ranking(outputs, names, options.top)
            answer.boxes = answers.boxes(outputs, given, names, options.score)
            if options.save is not None:
                options.save.mkdir(parents=True, exist_ok=True)
                kept = options.save / f"{given.name}.npz"
                npz.write(kept, outputs)
                answer.saved.append(str(kept))
                if given.picture is not None and answer.boxes:
                    drawn = options.save / f"{given.name}.png"
                    answers.draw(given.picture, answer.boxes, drawn)
                    answer.saved.append(str(drawn))
            found.append(answer.model_dump())
    return found


def _outputs(runner: Any, path: Path, backend: str) -> Sequence[str]:
    from enginesmith.converters.graphs.comparison import ONNXRUNTIME
    from enginesmith.converters.graphs.describe import describe

    if backend == ONNXRUNTIME:
        return [each.name for each in describe(path).outputs]
    return list(getattr(runner, "outputs", ()))
