"""The stages as a drawn graph: layers by dependency, from left to right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from enginesmith.pipeline.job.manifest import Manifest, StageRecord
from enginesmith.pipeline.report import text
from enginesmith.pipeline.report.summary import STATUS_TONE, SYMBOL, VERDICT_TONE, Tone

WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 146, 62, 36, 16, 4

LETTERS = 17
"""That fit into a node, in the widest of the fonts."""


@dataclass(frozen=True)
class Node:
    x: float
    y: float
    name: str
    engine: str
    """Backend and target, for a stage of one engine's branch."""
    status: str
    tone: Tone
    href: str
    label: str
    """What a screen reader says, and a pointer shows."""


@dataclass(frozen=True)
class Flow:
    width: float
    height: float
    nodes: list[Node]
    edges: list[str]
    """SVG path data."""
    node_width: int = WIDTH
    node_height: int = HEIGHT


@dataclass
class _Slot:
    """A place in a layer: a stage, or a bend of an edge that passes the layer by."""

    stage: str = ""
    parents: list[_Slot] = field(default_factory=list)
    children: list[_Slot] = field(default_factory=list)
    layer: int = 0
    middle: float = 0.0

    @property
    def half(self) -> float:
        return HEIGHT / 2 if self.stage else 0.0

    @property
    def x(self) -> float:
        return MARGIN + self.layer * (WIDTH + GAP_X)


def draw(manifest: Manifest, hrefs: Mapping[str, str]) -> Flow:
    """Lay out all stages. Edges that follow from others are left out: `a → c` where `a → b → c` is drawn."""
    layers = _layers(_reduced(_needs(manifest)))
    _place(layers)
    slots = [slot for layer in layers for slot in layer]
    top = min((slot.middle - slot.half for slot in slots), default=0.0)
    for slot in slots:
        slot.middle += MARGIN - top
    stages = {stage.id: stage for stage in manifest.stages}
    return Flow(
        width=max(1, len(layers)) * (WIDTH + GAP_X) - GAP_X + 2 * MARGIN,
        height=max((slot.middle + slot.half for slot in slots), default=0.0) + MARGIN,
        nodes=[_node(slot, stages[slot.stage], hrefs) for slot in slots if slot.stage],
        edges=[_path(parent, slot) for slot in slots for parent in slot.parents],
    )


def _needs(manifest: Manifest) -> dict[str, set[str]]:
    """Stage to the earlier stages that it needs; plan order is a topological order, so this has no cycle."""
    needs: dict[str, set[str]] = {}
    for stage in manifest.stages:
        needs[stage.id] = {need for need in [*stage.needs.values(), *stage.after] if need in needs}
    return needs


def _reduced(needs: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The transitive reduction: what a need needs itself is dropped."""
    above: dict[str, set[str]] = {}
    for stage, direct in needs.items():
        above[stage] = direct.union(*(above[need] for need in direct))
    return {stage: direct.difference(*(above[need] for need in direct)) for stage, direct in needs.items()}


def _layers(needs: Mapping[str, set[str]]) -> list[list[_Slot]]:
    """Each stage one layer after the last that it needs, with bends where an edge spans more than one layer."""
    slots: dict[str, _Slot] = {}
    layers: list[list[_Slot]] = []

    def add(slot: _Slot) -> None:
        layers.extend([] for _ in range(slot.layer + 1 - len(layers)))
        layers[slot.layer].append(slot)

    def join(parent: _Slot, child: _Slot) -> None:
        parent.children.append(child)
        child.parents.append(parent)

    for stage, direct in needs.items():
        slot = slots[stage] = _Slot(stage, layer=1 + max((slots[need].layer for need in direct), default=-1))
        add(slot)
        for need in sorted(direct, key=list(needs).index):
            parent = slots[need]
            for layer in range(parent.layer + 1, slot.layer):
                bend = _Slot(layer=layer)
                add(bend)
                join(parent, bend)
                parent = bend
            join(parent, slot)
    return layers


def _place(layers: list[list[_Slot]]) -> None:
    """Draw every slot to the middle of its neighbours: those before it, those after it, and once more before it."""
    for layer in layers:
        _settle(layer, lambda slot: slot.parents)
    for layer in reversed(layers):
        _settle(layer, lambda slot: slot.children)
    for layer in layers:
        _settle(layer, lambda slot: slot.parents)


def _settle(layer: list[_Slot], neighbours: Callable[[_Slot], list[_Slot]]) -> None:
    """Order a layer by where its neighbours lie, and place it as near to them as its slots' heights allow.

    With the heights taken off, that is least squares under a growing order: neighbours in each other's way merge into
    blocks, which lie at the mean of what their members want (isotonic regression).
    """
    wanted = {id(slot): _mean([near.middle for near in neighbours(slot)] or [slot.middle]) for slot in layer}
    layer.sort(key=lambda slot: wanted[id(slot)])
    offsets = [0.0]
    for above, below in pairwise(layer):
        offsets.append(offsets[-1] + above.half + GAP_Y + below.half)
    blocks: list[list[float]] = []
    for slot, offset in zip(layer, offsets, strict=False):
        blocks.append([wanted[id(slot)] - offset])
        while len(blocks) > 1 and _mean(blocks[-2]) >= _mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    places = [_mean(block) for block in blocks for _ in block]
    for slot, place, offset in zip(layer, places, offsets, strict=False):
        slot.middle = place + offset


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _path(parent: _Slot, child: _Slot) -> str:
    """A curve between two layers; a bend continues straight through its own."""
    start, end, bow = parent.x + WIDTH, child.x, GAP_X / 2
    curve = f"M{start:g} {parent.middle:.1f}C{start + bow:g} {parent.middle:.1f} {end - bow:g} {child.middle:.1f} "
    curve += f"{end:g} {child.middle:.1f}"
    return curve if child.stage else f"{curve}H{end + WIDTH:g}"


def _node(slot: _Slot, stage: StageRecord, hrefs: Mapping[str, str]) -> Node:
    tone = STATUS_TONE[stage.status]
    status = f"{SYMBOL[tone]} {stage.status}"
    if stage.comparison and stage.comparison.verdict in ("fail", "differs"):
        tone = VERDICT_TONE[stage.comparison.verdict]
        status = f"{SYMBOL[tone]} differs"
    if stage.seconds and stage.status != "skipped":
        status += f" · {text.seconds(stage.seconds)}"
    engine = f"{stage.backend} {stage.target}".strip()
    return Node(
        x=slot.x,
        y=slot.middle - slot.half,
        name=_elided(stage.id.removesuffix(engine).strip() or stage.id),
        engine=_elided(engine, LETTERS + 3),
        status=status,
        tone=tone,
        href=hrefs[stage.id],
        label=f"{stage.id}: {status.split(maxsplit=1)[1]}",
    )


def _elided(name: str, most: int = LETTERS) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
