"""One mix of precisions made real: lowered, written, run and measured. What was measured once is remembered."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel, ValidationError

from enginesmith.converters.core.errors import ConversionError
from enginesmith.converters.core.stage import MODEL
from enginesmith.converters.precision.int8.options import Int8Options
from enginesmith.converters.precision.judges import Judge
from enginesmith.converters.precision.mix import Mix

if TYPE_CHECKING:
    import onnx_ir as ir

    from enginesmith.converters.precision.int8.calibration import Calibration


class Outcome(BaseModel):
    """What a mix turned out to be. `failed` says why there is no such graph; the figures mean nothing then."""

    accuracy: float = 0.0
    error: float = 0.0
    """Of the outputs, where the judge tells it."""
    products: dict[str, int] = {}
    size: int = 0
    milliseconds: float = 0.0
    kept: dict[str, str] = {}
    """Product in a higher precision than asked to why."""
    failed: str = ""


class Ground(NamedTuple):
    """A prepared float32 graph, and the calibration of this very graph."""

    model: ir.Model
    calibration: Calibration | None

    @classmethod
    def load(cls, calibrated: Path) -> Ground:
        """From the artifact of a calibration."""
        import onnx_ir as ir

        from enginesmith.converters.precision.int8.calibration import Calibration
        from enginesmith.converters.precision.lower import prepare

        return cls(prepare(ir.load(calibrated / MODEL), "auto"), Calibration.load(calibrated))

    def copy(self) -> ir.Model:
        """To be rewritten; the weights are shared."""
        import onnx_ir as ir

        return ir.Model(self.model.graph.clone(), ir_version=self.model.ir_version)


@dataclass
class Trials:
    """Makes and measures mixes of one model: every trial lowers a copy.

    `equalized` is the same model after cross-layer equalization, for mixes that ask for it; the names of its nodes are
    the same. `identity` stands for all that an accuracy depends on besides the mix: the model, the calibration, the
    data and the metric. `shapes` are those of the inputs, for the estimate.
    """

    plain: Ground
    equalized: Ground | None
    target: str
    identity: str
    scratch: Path
    cache: Path
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    made: int = 0
    """Trials that were really run; the others were remembered."""

    def run(self, judge: Judge, mix: Mix, options: Int8Options) -> Outcome:
        """Lower, write and score, unless that was done before."""
        asked = [
            self.identity,
            judge.name,
            self.target,
            mix.model_dump(),
            options.model_dump() if mix.int8 else None,
        ]
        key = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()
        file = self.cache / f"{key}.json"
        with suppress(FileNotFoundError, ValidationError):  # a damaged memory is none
            return Outcome.model_validate_json(file.read_bytes())
        outcome = self._run(judge, mix, options)
        self.made += 1
        self.cache.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(".tmp")
        temporary.write_text(outcome.model_dump_json())
        temporary.replace(file)
        return outcome

    def wide(self) -> Outcome:
        """The float32 graph: what there is to know without a judge."""
        from enginesmith.compat.graphs import weight_bytes
        from enginesmith.converters.precision.cost import estimate, with_shapes

        return Outcome(
            products={"float32": len(products_of(self.plain.model))},
            size=weight_bytes(self.plain.model),
            milliseconds=estimate(with_shapes(self.plain.model, self.shapes), self.target),
        )

    def ground_of(self, mix: Mix, options: Int8Options) -> Ground:
        """What a mix is made from."""
        return self.equalized if self.equalized and options.equalize and mix.int8 else self.plain

    def _run(self, judge: Judge, mix: Mix, options: Int8Options) -> Outcome:
        from enginesmith.converters.precision.cost import estimate, with_shapes
        from enginesmith.converters.precision.mix import apply, write

        ground = self.ground_of(mix, options)
        model = ground.copy()
        folder = self.scratch / "trial"
        folder.mkdir(parents=True)
        try:
            lowering = apply(model, mix, ground.calibration, options)
            written = write(model, mix, folder)
            accuracy = judge.score(written.stand_in)
        except ConversionError as error:
            return Outcome(failed=str(error))
        finally:
            shutil.rmtree(folder)
        return Outcome(
            accuracy=accuracy,
            error=judge.error,
            products=lowering.products_by_dtype,
            size=lowering.weights_after,
            milliseconds=estimate(with_shapes(model, self.shapes), self.target),
            kept={kept.node: kept.reason for kept in lowering.kept if kept.product},
        )


def products_of(model: ir.Model) -> dict[str, ir.Node]:
    """The products of a prepared model by name, in order."""
    from enginesmith.converters.graphs.structure import ordered
    from enginesmith.converters.precision.rules import products

    found = products(model)
    return {node.name or "": node for node in ordered(model.graph) if node in found}
