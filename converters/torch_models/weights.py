"""Where weights come from: a library's own server, the user's file, or a seed."""

from __future__ import annotations

import socket
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse
from urllib.request import getproxies

from enginesmith.converters.core.errors import UserError, first_line
from enginesmith.converters.torch_models.archive import refused_pickle

if TYPE_CHECKING:
    import torch
    from torch import nn

REACH_SECONDS = 2.0
"""Longest wait for a host. The hubs' own clients retry for up to a minute."""


def reachable(host: str) -> bool:
    """Whether a TCP connection to the host's port 443, or to the proxy for it, opens in time; name look-up included."""
    reached = threading.Event()

    def connect() -> None:
        proxy = urlparse(getproxies().get("https", ""))
        try:
            address = (proxy.hostname, proxy.port or 80) if proxy.hostname else (host, 443)
            socket.create_connection(address, timeout=REACH_SECONDS).close()
        except (OSError, ValueError):  # ValueErrors are of names and ports that make no sense
            return
        reached.set()

    # a thread, because the system's name look-up knows no time-out
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(REACH_SECONDS)
    return reached.is_set()


def load_weights(module: nn.Module, path: Path, trust: bool) -> None:
    """Load a state dict into a module: `.safetensors`, or what `torch.save` wrote.

    Raises UserError for a file that is none, needs unpickling without `trust`, or doesn't fit (first three keys named).
    """
    state = _read_state(path, trust)
    own = module.state_dict()
    missing = [f"{key} (missing in the file)" for key in own if key not in state]
    unknown = [f"{key} (not in the model)" for key in state if key not in own]
    shapes = [
        f"{key} (file {tuple(state[key].shape)}, model {tuple(own[key].shape)})"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    problems = shapes + missing + unknown
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(f"the weights {path} don't fit the model: {'; '.join(problems[:3])}{more}")
    module.load_state_dict(state)


def _read_state(path: Path, trust: bool) -> dict[str, torch.Tensor]:
    import torch

    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(path))
        except (SafetensorError, OSError) as error:
            raise UserError(f"the weights {path} can't be read: {error}") from None
    state = read_pickle(path, trust)
    if isinstance(state, torch.nn.Module):
        state = state.state_dict()
    for key in ("state_dict", "model"):  # the usual checkpoints of trainers
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"the weights {path} hold no state dict (a mapping of names to tensors)")
    return state


def read_pickle(path: Path, trust: bool) -> Any:
    """What `torch.save` wrote: tensors in plain containers, with `trust` any object. Raises UserError."""
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=not trust)
    except Exception as error:  # noqa: BLE001 - pickle raises what it meets in a damaged file, or in a stranger's code
        traceback.print_exc()
        if not trust and (refused := refused_pickle(path, error)):
            raise refused from None
        raise UserError(
            f"{path} can't be read as what torch.save wrote: {type(error).__name__}: {first_line(error)}"
        ) from None
