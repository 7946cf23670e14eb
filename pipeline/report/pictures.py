"""Detections drawn on the sample pictures, stage beside stage."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass, field

from enginesmith.converters.core.comparisons import Detections, SampleComparison
from enginesmith.converters.data import pictures
from enginesmith.pipeline.job.manifest import Manifest
from enginesmith.pipeline.report import text
from enginesmith.pipeline.report.sides import compared

LONGEST = 480
"""Pixels of an embedded picture's longer side: it is shown no larger than that."""
LABELLED = 8
"""Boxes that carry their label; with more, the picture can't be seen."""
COLOURS = 8
"""Classes `k0` to `k7` in the style sheet."""


@dataclass(frozen=True)
class Box:
    x: float
    y: float
    width: float
    height: float
    colour: int
    caption: str
    caption_y: float


@dataclass(frozen=True)
class Panel:
    """One stage's detections. `before` is what the stage before found, drawn dashed under them."""

    stage: str
    boxes: list[Box]
    before: list[Box]
    description: str


@dataclass
class Gallery:
    """One sample picture with a panel per stage."""

    id: str
    sample: str
    picture: str
    width: int
    height: int
    data: str
    """Data URL, or empty when this version has no such picture; embedded once and used by all panels."""
    panels: list[Panel] = field(default_factory=list)

    @property
    def text_size(self) -> float:
        return max(self.width, self.height) / 26


def galleries(manifest: Manifest) -> list[Gallery]:
    """The comparisons form a chain, so a side that is another comparison's newer side is drawn once."""
    found: dict[tuple[str, int, int], Gallery] = {}
    for side in compared(manifest):
        for sample in side.comparison.samples:
            if not sample.picture or sample.drawn is None:
                continue
            height, width = _size(sample)
            key = (sample.picture, height, width)
            if key not in found:
                name = f"picture-{len(found)}-{text.slug(sample.picture)}"
                found[key] = Gallery(name, sample.sample, sample.picture, width, height, _embed(*key))
            _add(found[key], side.expected, sample.drawn_expected, None)
            _add(found[key], side.found, sample.drawn, sample.drawn_expected)
    return list(found.values())


def _add(gallery: Gallery, stage: str, drawn: Detections | None, before: Detections | None) -> None:
    if drawn is None or any(panel.stage == stage for panel in gallery.panels):
        return
    boxes = _boxes(drawn, gallery)
    captions = ", ".join(box.caption for box in boxes[:LABELLED]) or "nothing"
    described = f"{gallery.picture}, {stage}: {text.counted(len(boxes), 'detection')}: {captions}"
    gallery.panels.append(Panel(stage, boxes, _boxes(before, gallery) if before else [], described))


def _size(sample: SampleComparison) -> tuple[int, int]:
    """Height and width of the picture as the model saw it, from the first input that looks like one."""
    for shape in sample.shapes.values():
        dims = shape[-3:]
        if len(dims) == 3 and min(dims) > 0:
            if dims[0] in (1, 3):
                return dims[1], dims[2]
            if dims[2] in (1, 3):
                return dims[0], dims[1]
    return _natural_size(sample.picture)


def _natural_size(picture: str) -> tuple[int, int]:
    from PIL import Image

    if picture not in pictures.names():
        return LONGEST, LONGEST
    with Image.open(pictures.path(picture)) as image:
        return image.height, image.width


def _embed(picture: str, height: int, width: int) -> str:
    from PIL import Image

    if picture not in pictures.names():
        return ""
    scale = min(1.0, LONGEST / max(height, width))
    pixels = pictures.load(picture, max(1, round(height * scale)), max(1, round(width * scale)))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _boxes(drawn: Detections, gallery: Gallery) -> list[Box]:
    """Best first, cut to the picture; a box that isn't one is left out."""
    made = []
    for corners, score, label in zip(drawn.boxes, drawn.scores, drawn.labels, strict=False):
        if len(corners) != 4 or not all(map(math.isfinite, corners)):
            continue
        left, right = (min(max(v, 0.0), float(gallery.width)) for v in corners[0::2])
        top, bottom = (min(max(v, 0.0), float(gallery.height)) for v in corners[1::2])
        above = top - gallery.text_size * 0.3
        made.append(
            Box(
                x=round(left, 1),
                y=round(top, 1),
                width=round(max(0.0, right - left), 1),
                height=round(max(0.0, bottom - top), 1),
                colour=label % COLOURS,
                caption=f"{label}: {score:.2f}",
                caption_y=round(above if above > gallery.text_size else top + gallery.text_size * 1.1, 1),
            )
        )
    return made
