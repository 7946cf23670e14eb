"""The zip archives that PyTorch writes models into, copied so that what was looked at is what is loaded."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from enginesmith.converters.core.errors import UserError, first_line


def untrusted(path: Path, what: str) -> UserError:
    """The one line for a file that would run code: `what` says which."""
    return UserError(f"{path} {what}; if you trust it, give --trust (TRUST=1)")


def read_archive(path: Path) -> dict[str, bytes]:
    """The members by name, without the folder that all of them are in.

    Raises UserError for what is no zip archive, or is two: readers differ in which of two members of one name they take.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [item.filename for item in archive.infolist()]
            if len(set(names)) < len(names):
                raise untrusted(path, "holds two members of one name, and can hide code from us so")
            size = sum(item.file_size for item in archive.infolist())
            if size > 2 * path.stat().st_size + (1 << 20):  # PyTorch doesn't compress
                raise UserError(f"{path} would unpack to {size / 2**30:.1f} GB; PyTorch writes no such file")
            members = {item.filename: archive.read(item) for item in archive.infolist() if not item.is_dir()}
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        raise UserError(f"{path} is damaged: {first_line(error)}") from None
    roots = {name.partition("/")[0] for name in members}
    if len(roots) != 1 or any("/" not in name for name in members):
        return members
    return {name.partition("/")[2]: content for name, content in members.items()}


def write_archive(members: Mapping[str, bytes], root: str) -> io.BytesIO:
    """An archive in the memory, with all members in the folder `root`, as PyTorch's reader wants it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(f"{root}/{name}", content)
    out.seek(0)
    return out


def plain_pickle(path: Path, name: str, content: bytes) -> Any:
    """What `torch.save` wrote, where that are tensors in plain containers. Raises UserError for any other object."""
    import torch

    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - pickle raises what it meets in a damaged file
        raise refused_pickle(path, error, f" in {name}") or untrusted(path, f"holds a pickle in {name}") from None


def refused_pickle(path: Path, error: Exception, where: str = "") -> UserError | None:
    """What to say of a pickle that `torch.load` took for more than weights; None where it is another error."""
    found = re.search(r"nsupported (?:global: )?GLOBAL ([\w.]+)", str(error))
    if found is None:
        return None
    return untrusted(path, f"holds pickled Python objects{where} ({found[1]}), which can run any code")
