"""Does the backend take the graph? Its own parser and a trial build say so, for every node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from enginesmith.converters.backends import get_backend
from enginesmith.converters.backends.base import BuildRequest
from enginesmith.converters.backends.profile import profile_of
from enginesmith.converters.errors import ConversionError
from enginesmith.converters.graph import describe
from enginesmith.converters.samples import SAMPLES, SampleSet
from enginesmith.converters.stage import MODEL, Context, Facts, Options, Stage


class CheckOptions(Options):
    backend: str
    target: str


class Check(Stage[CheckOptions]):
    """Fails with a finding for every node that the backend refuses."""

    name = "check"
    options = CheckOptions
    without_torch = True

    def packages_of(self, options: CheckOptions) -> tuple[str, ...]:
        return get_backend(options.backend).packages

    def run(self, inputs: Mapping[str, Path], options: CheckOptions, context: Context) -> Facts:
        samples = SampleSet.model_validate_json((inputs["samples"] / SAMPLES).read_bytes())
        backend = get_backend(options.backend)
        onnx = inputs["model"] / MODEL
        request = BuildRequest(onnx=onnx, target=options.target, profile=profile_of(samples.specs), out=context.scratch)
        findings = backend.check(request, context)
        refused = [finding for finding in findings if finding.severity == "error"]
        if refused:
            counts = Counter(finding.op or "the graph" for finding in refused)
            listed = ", ".join(f"{op} ({count})" if count > 1 else op for op, count in counts.most_common(8))
            raise ConversionError(
                f"{options.backend} refuses {len(refused)} nodes: {listed}"
                if any(f.op for f in refused)
                else refused[0].message,
                refused[0].remedy,
                findings,
            )
        nodes = describe(onnx).nodes
        return Facts(findings=findings, note=f"{nodes} nodes accepted")
