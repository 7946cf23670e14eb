"""ONNX to an engine, by a backend; a graph that the backend refuses is repaired, compared, and built again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enginesmith.compat.findings import Finding
from enginesmith.converters.backends import get_backend
from enginesmith.converters.backends.base import OBSERVED, Profile
from enginesmith.converters.backends.building import REPAIR_PACKAGES, build
from enginesmith.converters.backends.request import request_for
from enginesmith.converters.core.builder_options import BuilderOptions
from enginesmith.converters.core.errors import ConversionError, UserError
from enginesmith.converters.core.facts import ComparedFacts, GraphFacts
from enginesmith.converters.core.inputs import written
from enginesmith.converters.core.options import Options
from enginesmith.converters.core.plan import Draft, PlannedStage
from enginesmith.converters.core.recipe import AUTO, FP32, Recipe
from enginesmith.converters.core.records import EngineInfo
from enginesmith.converters.core.samples import SampleSet
from enginesmith.converters.core.stage import MODEL, SCHEDULES, Context, Stage
from enginesmith.converters.graphs import interface
from enginesmith.converters.graphs.alter import write_altered
from enginesmith.converters.graphs.describe import describe
from enginesmith.converters.graphs.products import shortfall

if TYPE_CHECKING:
    from enginesmith.converters.graphs.sparsity import Sparsity


class CompileOptions(Options):
    """`precision` is the comparison's, of a repaired graph with the one given, whose results are called `expected`."""

    backend: str
    target: str
    precision: str = "fp32"
    expected: str = "ONNX Runtime"
    repair: bool = True
    """The graph may be changed where the backend refuses it."""
    workarounds: bool = False
    """The graph is changed where the backend is known to compute it wrongly."""
    alter: str = ""
    """Changes to the graph that keep what it computes."""
    sparse: bool = False
    """The weights are meant to be 2:4 sparse."""
    kernels: bool = True
    """Kernels of our own, which TVM modules can do without."""
    winograd: bool = True
    """Winograd's among them."""
    builder: BuilderOptions = BuilderOptions()


class CompileFacts(GraphFacts, ComparedFacts):
    """Of the graph and its comparison, where it had to be repaired."""

    engine: EngineInfo


class Compile(Stage[CompileOptions]):
    """The artifact is the engine, with what its backend needs to run it beside it, and the repaired graph where one was
    needed. Fails with a finding for every node that the backend refuses and that no repair could mend.
    """

    name = "compile"
    options = CompileOptions
    facts = CompileFacts
    without_torch = True

    def packages_of(self, options: CompileOptions) -> tuple[str, ...]:
        changes = options.repair or options.workarounds or options.alter
        return (*get_backend(options.backend).packages, *(REPAIR_PACKAGES if changes else ()))

    def plan(self, recipe: Recipe, so_far: Draft) -> Iterator[PlannedStage]:
        backend, target = so_far.branch.backend, so_far.branch.target
        tunable = get_backend(backend).tunable
        builder = BuilderOptions.asked(recipe) if get_backend(backend).gpu else BuilderOptions()
        if refused := get_backend(backend).refuses(builder):
            raise UserError(refused)
        options = CompileOptions(
            backend=backend,
            target=target,
            precision="int8" if recipe.precision == AUTO else recipe.precision,
            expected=so_far.expected_label,
            repair=recipe.repair,
            workarounds=recipe.workarounds,
            alter=recipe.alter,
            sparse=recipe.sparse,
            # of no other backend are the kernels ours
            kernels=recipe.kernels if tunable else True,
            winograd=recipe.winograd if tunable else True,
            builder=builder,
        )
        needs = so_far.needs("model", "samples", "expected", "tuned")
        id = f"{self.name} {so_far.branch.name}"
        yield PlannedStage(id, self.name, options, needs=needs, after=so_far.after, backend=backend, target=target)
        so_far.roles |= {"engine": id, "product": id}

    def run(self, inputs: Mapping[str, Path], options: CompileOptions, context: Context) -> CompileFacts:
        samples, feeds = SampleSet.load(inputs["samples"])
        request = request_for(
            inputs["model"] / MODEL,
            options.target,
            samples,
            feeds,
            context.out,
            cache=context.cache,
            sparse=options.sparse,
            kernels=options.kernels,
            winograd=options.winograd,
            level=options.builder.optimization_level,
            tf32=options.builder.tf32,
            builder=options.builder,
            schedules=inputs["tuned"] / SCHEDULES if "tuned" in inputs else None,
        )
        backend = get_backend(options.backend)
        if options.alter:
            request = replace(
                request, onnx=write_altered(request.onnx, context.scratch, options.alter, backend.rules(request.target))
            )
        zeros = _sparsity(request.onnx) if options.sparse else None
        model = context.out / MODEL
        built = build(
            backend,
            request,
            context,
            feeds,
            model if options.repair else None,
            model if options.workarounds else None,
        )
        engine = built.engine
        warnings = [f"the graph's {change}" for change in interface.save(built.onnx, context.out)]
        warnings += _known_wrong(backend.name, built.findings)
        if lacking := shortfall(engine.products_asked, engine.products_built):
            others = "the report's layers say what the others are"
            if backend.rest == FP32 and not lacking.startswith("asked int8"):
                others = "it computes 16 bits in float32"
            warnings.append(f"{options.backend}: {lacking}; {others}")
        if request.profile and not request.shapes and not backend.dynamic_shapes:
            shapes = {name: shape for name, (_, shape, _) in request.profile.items() if name not in request.values}
            values = [f"{name}={likeliest[0]}" for name, (_, likeliest, _) in request.values.items()]
            only = " ".join(filter(None, (written(shapes), *values)))
            more = "" if values else f"; list the shapes that you need, such as SHAPE='{_example(request.profile)}'"
            warnings.append(f"{options.backend} builds static shapes: this engine takes {only} alone{more}")
        if told := engine.details.get(OBSERVED):
            warnings.append(
                f"the values of {told.split('=')[0]} decide on sizes: the engine takes {told}, as the samples have them; "
                f"give the range that you need, such as --shape {told.split('=')[0]}=1..30..500"
            )
        if zeros is not None:
            engine.details["sparsity"] = zeros.told
            if backend.sparse_kernels(options.target):
                engine.details["sparsity"] += (
                    "; which of them have sparse kernels, the builder doesn't say without a GPU"
                )
            else:
                warnings.append(
                    f"{options.backend} has no sparse kernels for {options.target}: zeros are multiplied too"
                )
        for warning in warnings:
            context.warn(warning)
        facts: dict[str, Any] = {
            "engine": engine,
            "findings": built.findings,
            "warnings": warnings,
            "note": f"{engine.layers} layers, {engine.size / 1e6:.1f} MB",
        }
        if options.alter:
            engine.details["alterations"] = options.alter
            if not built.changed:  # scratch, which is not kept
                import onnx_ir as ir

                from enginesmith.compat.saving import save

                save(ir.load(built.onnx), model)
        if built.changed or options.alter:
            from enginesmith.converters.graphs.comparison import compare_graph

            context.progress("comparing the repaired graph")
            before = (inputs["samples"], inputs["expected"], options.expected, options.precision)
            facts = {
                **dict(describe(built.onnx)),
                **facts,
                "repairs": built.attempts,
                "comparison": compare_graph(built.onnx, *before, context, fixed=built.fixed),
                "note": "; ".join(
                    filter(None, (facts["note"], built.told, options.alter and f"altered: {options.alter}"))
                ),
            }
        return CompileFacts(**facts)


def _example(profile: Profile) -> str:
    """The optimum and the maximum, as a list of shapes."""
    optimum, maximum = ({name: shapes[place] for name, shapes in profile.items()} for place in (1, 2))
    return f"{written(optimum)} {written(maximum)}".replace(" ", ",")


def _known_wrong(backend: str, findings: Sequence[Finding]) -> list[str]:
    """A line for each known miscompilation that the graph has, whatever the number of nodes."""
    from enginesmith.compat.workarounds import has_rewrite

    known: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.silent and finding.severity == "warning":
            known.setdefault(finding.rule, []).append(finding)
    lines = []
    for rule, found in known.items():
        first, more = found[0], f" and {len(found) - 1} more" if len(found) > 1 else ""
        way = "--workarounds makes a workaround of it" if has_rewrite(rule) else first.remedy
        lines.append(f"{backend}, {first.op} {first.node}{more}: {first.message}; {way}")
    return lines


def _sparsity(onnx: Path) -> Sparsity:
    """Raises ConversionError where no product is sparse."""
    from enginesmith.converters.graphs.sparsity import sparsity

    found = sparsity(onnx)
    if not found.sparse:
        raise ConversionError(
            f"asked for sparse weights, and 0 of {len(found.dense)} products with weights are 2:4 sparse in the graph",
            "prune the PyTorch model (--sparse with --finetune), or leave --sparse out",
        )
    return found
