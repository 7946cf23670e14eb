"""Facts that lie as YAML beside the modules that read them."""

from __future__ import annotations

from importlib.resources import files
from typing import Any


def read_table(package: str, name: str) -> Any:
    """The content of `name`.yaml in a package."""
    import yaml

    # the C loader reads it in a tenth of the time, where libyaml is there
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(files(package).joinpath(f"{name}.yaml").read_text(encoding="utf-8"), loader)
