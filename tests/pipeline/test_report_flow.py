"""The drawn flow of a build: readable however stages hang together."""

from __future__ import annotations

import report_manifests as manifests
from hypothesis import given
from hypothesis import strategies as st

from enginesmith.pipeline.job.manifest import Manifest, StageRecord
from enginesmith.pipeline.report import flow, summary


@st.composite
def plans(draw: st.DrawFn) -> Manifest:
    manifest = manifests.minimal()
    for number in range(draw(st.integers(1, 14))):
        needs = draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        stage = StageRecord(id=f"s{number}", stage="s", status="built", needs={f"r{n}": f"s{n}" for n in needs})
        manifest.stages.append(stage)
    return manifest


@given(plans())
def test_flow_is_readable(manifest: Manifest) -> None:
    drawn = flow.draw(manifest, summary.anchors(manifest))
    assert len(drawn.nodes) == len(manifest.stages)
    for number, node in enumerate(drawn.nodes):
        assert 0 <= node.x <= drawn.width - flow.WIDTH
        assert -1e-6 <= node.y <= drawn.height - flow.HEIGHT + 1e-6
        for other in drawn.nodes[:number]:
            apart = abs(node.x - other.x) >= flow.WIDTH or abs(node.y - other.y) >= flow.HEIGHT + flow.GAP_Y - 1e-6
            assert apart, "nodes overlap"
    places = {node.name: node.x for node in drawn.nodes}
    for stage in manifest.stages:
        assert all(places[need] < places[stage.id] for need in stage.needs.values())


def test_flow_keeps_a_chain_straight_and_leaves_out_what_follows() -> None:
    manifest = manifests.minimal()
    for stage, needs in (("a", []), ("b", ["a"]), ("c", ["a", "b", "no such stage"])):
        manifest.stages.append(StageRecord(id=stage, stage=stage, status="built", needs={n: n for n in needs}))
    drawn = flow.draw(manifest, summary.anchors(manifest))
    assert len(drawn.edges) == 2
    assert len({node.y for node in drawn.nodes}) == 1


def test_flow_names_a_branch_by_its_engine() -> None:
    manifest = manifests.detector()
    nodes = {(n.name, n.engine) for n in flow.draw(manifest, summary.anchors(manifest)).nodes}
    assert {("compile", "tensorrt sm_89"), ("compile", "tvm native"), ("compare precision", "")} <= nodes


def test_flow_marks_a_stage_whose_outputs_differ() -> None:
    manifest = manifests.detector()
    comparison = manifest.stages[2].comparison
    assert comparison
    comparison.verdict = "fail"
    node = next(n for n in flow.draw(manifest, summary.anchors(manifest)).nodes if n.label.startswith("compare export"))
    assert (node.tone, node.status) == ("bad", "✗ differs · 9.5 s")
