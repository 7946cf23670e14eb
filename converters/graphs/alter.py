"""A graph file with the changes that were asked for, which keep what it computes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from enginesmith.converters.core.errors import UserError

if TYPE_CHECKING:
    from enginesmith.compat.target import Target

FILE = "altered.onnx"


def write_altered(given: Path, folder: Path, alterations: str, target: Target) -> Path:
    """The graph at `given` with the `alterations` of a recipe, as a file in `folder`. That it computes the same is for who
    calls to see.

    Raises UserError where one is none, or can't be made.
    """
    import onnx_ir as ir

    from enginesmith.compat.alterations import altered, read_all
    from enginesmith.compat.building import NotApplicable
    from enginesmith.compat.saving import save

    try:
        changed = altered(ir.load(given), read_all(alterations), target)
    except (NotApplicable, ValueError) as error:
        raise UserError(f"alter: {error}") from None
    save(changed, folder / FILE)
    return folder / FILE
