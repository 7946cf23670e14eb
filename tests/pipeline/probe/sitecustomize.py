"""With this folder in PYTHONPATH a worker knows the stage `probe`."""

from enginesmith.converters.registry import STAGES

STAGES["probe"] = "probe_stage:Probe"
