"""A model with fewer channels than its author wrote: which entries of its tensors are left, and the sizes that its modules
keep as attributes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

if TYPE_CHECKING:
    from torch import nn

CUT = "cut.json"


class Cut(BaseModel):
    """Tensors and modules are named as in the torch model."""

    kept: dict[str, dict[int, list[int]]] = {}
    """Of a parameter or buffer, by dimension: the indices that are left."""
    attributes: dict[str, dict[str, int]] = {}
    """Of a module: `out_channels`, `groups`, `num_heads`."""
    untrained: bool = False
    """The weights that go with it are random ones, cut."""

    def save(self, folder: Path) -> None:
        (folder / CUT).write_text(self.model_dump_json())

    @classmethod
    def load(cls, folder: Path) -> Cut:
        return cls.model_validate_json((folder / CUT).read_bytes())


def apply(module: nn.Module, cut: Cut) -> None:
    """Cut a module in place. Tensors that several modules share stay shared. Its forward is as it was: whether it runs with
    the new sizes is for the caller to see.
    """
    import torch

    made: dict[int, torch.Tensor] = {}
    held = []  # an id may be given again once its tensor is gone
    for name, kept in cut.kept.items():
        path, _, leaf = name.rpartition(".")
        owner = module.get_submodule(path)
        old = getattr(owner, leaf)
        if id(old) not in made:
            new = old.detach()
            for dim, indices in kept.items():
                new = new.index_select(dim, torch.tensor(indices, device=new.device))
            is_parameter = isinstance(old, torch.nn.Parameter)
            made[id(old)] = torch.nn.Parameter(new, requires_grad=old.requires_grad) if is_parameter else new
            held.append(old)
        setattr(owner, leaf, made[id(old)])
    for name, attributes in cut.attributes.items():
        for attribute, value in attributes.items():
            setattr(module.get_submodule(name), attribute, value)
