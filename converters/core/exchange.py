"""Arrays between two processes, through a piece of memory that both hold open."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from enginesmith.converters.core.samples import Array


class Exchange:
    """Memory of a file without a name: it goes with the last process that holds it. `fd` is one that another has made."""

    def __init__(self, fd: int | None = None) -> None:
        self.fd = os.memfd_create("enginesmith") if fd is None else fd

    def put(self, arrays: Mapping[str, Array]) -> list[dict[str, Any]]:
        """Write arrays over what was there; what to read them by, as JSON."""
        import numpy as np

        told, offset = [], 0
        for name, array in arrays.items():
            plain = np.ascontiguousarray(array)
            told.append({"name": name, "dtype": plain.dtype.str, "shape": list(np.shape(array)), "offset": offset})
            offset = self._write(plain.reshape(-1).view(np.uint8).data, offset)
        return told

    def take(self, told: Sequence[Mapping[str, Any]]) -> dict[str, Array]:
        """Copies of what the other process has put."""
        import numpy as np

        arrays: dict[str, Array] = {}
        for each in told:
            array = np.empty(each["shape"], each["dtype"])
            self._read(array.reshape(-1).view(np.uint8).data, each["offset"])
            arrays[each["name"]] = array
        return arrays

    def _write(self, data: memoryview, offset: int) -> int:
        while data:  # at most 2 GiB go in one call
            count = os.pwrite(self.fd, data, offset)
            data, offset = data[count:], offset + count
        return offset

    def _read(self, data: memoryview, offset: int) -> None:
        while data:
            count = os.preadv(self.fd, [data], offset)
            if not count:
                raise EOFError("the other process has put less than it says")
            data, offset = data[count:], offset + count
