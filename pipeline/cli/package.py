"""What `enginesmith package` and `enginesmith verify` show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from enginesmith.pipeline.api.console import print_json, say
from enginesmith.pipeline.job.package import package, verify


def run_package(place: Path, for_: str, out: Path | None, *, as_json: bool, **options: Any) -> int:
    """Pack, show, and return the exit status. Raises UserError, ConversionError."""
    name = (place if place.is_dir() else place.parent).resolve().name
    folder = out or Path("packages") / f"{name}-{for_.partition('=')[0]}"
    record = package(place, for_, folder, **options)
    if as_json:
        print_json(json.dumps({"folder": str(folder), **record.model_dump()}, indent=1))
        return 0
    engine = f"{record.backend} {record.target}".strip()
    say(
        f"package   {folder}: {record.name} for {engine}, {len(record.files)} files, {record.size / 1e6:.1f} MB of engine"
    )
    say(f"verified  {record.verified}: {record.verified_reason}".removesuffix(": "))
    say(f"read      {folder / 'README.md'}")
    return 0


def run_verify(place: Path, *, as_json: bool) -> int:
    """Show, and return the exit status: 0 all is as it was packed, 1 something isn't. Raises UserError."""
    record, faults = verify(place)
    if as_json:
        print_json(json.dumps({"sound": not faults, "faults": faults, **record.model_dump()}, indent=1))
    else:
        for fault in faults:
            say(fault)
        engine = f"{record.backend} {record.target}".strip()
        state = f"{len(faults)} faults" if faults else f"all {len(record.files)} files are as they were packed"
        say(f"{record.name} for {engine}: {state}")
        say(f"verified when it was built: {record.verified}: {record.verified_reason}".removesuffix(": "))
    return 1 if faults else 0
