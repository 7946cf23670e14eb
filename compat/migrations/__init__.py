"""What became of the ways to build a TensorRT engine: command lines and scripts, read and never run, part by part.

The facts are in YAML (`trtexec`, `polygraphy`, `python`, `onnx2trt`): an option or a name of the API, the releases that have it,
what it is in TensorRT 11, and what Enginesmith has for it. `shell` and `python_script` read what was written; what they don't
understand they say.
"""

from enginesmith.compat.migrations.facts import Fact, facts
from enginesmith.compat.migrations.reading import Job, Part, Reading, Unread

__all__ = ["Fact", "Job", "Part", "Reading", "Unread", "facts"]
