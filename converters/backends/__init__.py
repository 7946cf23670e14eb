"""The backends by name, in order of preference: ours, then those of plug-ins.

One of ours is a folder here and a line in OURS. Others add theirs by an entry point of the group `enginesmith.backends`,
which names a `Backend`: its class, or one made from it. A backend's module is imported when it is first asked for, its
framework when it works.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points

from enginesmith.converters.backends.base import Backend
from enginesmith.converters.core.names import unknown

GROUP = "enginesmith.backends"
OURS = {
    "tensorrt": "enginesmith.converters.backends.tensorrt.backend:TENSORRT",
    "tensorrt-rtx": "enginesmith.converters.backends.tensorrt.backend:TENSORRT_RTX",
    "tvm": "enginesmith.converters.backends.tvm.backend:TVM",
}
AUTO = "auto"


class Registry(Mapping[str, Backend]):
    """Backends by name, each imported at the first look. A plug-in of a name that is taken is left out; one that doesn't
    load is there, and isn't available.
    """

    def __init__(self) -> None:
        self._loaded: dict[str, Backend] = {}

    @cached_property
    def _places(self) -> dict[str, EntryPoint]:
        ours = {name: EntryPoint(name, place, GROUP) for name, place in OURS.items()}
        plugins = sorted(entry_points(group=GROUP), key=lambda place: place.name)
        return ours | {place.name: place for place in plugins if place.name not in ours}

    def __getitem__(self, name: str) -> Backend:
        if name not in self._loaded:
            place = self._places[name]
            self._loaded[name] = _load(place) if name in OURS else _load_plugin(place)
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def module(self, name: str) -> str:
        """Name of the module that holds a backend."""
        return self._places[name].module


BACKENDS = Registry()


def get_backend(name: str) -> Backend:
    """The backend called `name`. Raises UserError with the nearest names."""
    if name not in BACKENDS:
        raise unknown("backend", name, [*BACKENDS, AUTO])
    return BACKENDS[name]


def buildable() -> list[str]:
    """Names of the backends that this machine can build with: what `auto` stands for."""
    return [name for name, backend in BACKENDS.items() if backend.available() is None]


def _load(place: EntryPoint) -> Backend:
    found = place.load()
    backend = found() if isinstance(found, type) else found
    if not isinstance(backend, Backend):
        raise TypeError(f"{place.value} is no Backend")
    if backend.name != place.name:
        raise ValueError(f"{place.value} calls itself {backend.name!r}")
    return backend


def _load_plugin(place: EntryPoint) -> Backend:
    try:
        backend = _load(place)
        backend.available(), backend.version()  # what is asked of all backends, whichever is wanted
    except (Exception, SystemExit) as error:  # noqa: BLE001 - others' code, which must not keep ours from its work
        from enginesmith.converters.backends.broken import Broken

        return Broken(place, error)
    return backend
