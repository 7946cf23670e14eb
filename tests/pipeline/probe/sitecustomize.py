"""With this folder in PYTHONPATH a worker knows the stages `probe`, `patient` and `timed`."""

from enginesmith.converters.stages.registry import STAGES

STAGES["probe"] = "probe_stage:Probe"
STAGES["patient"] = "probe_stage:Patient"
STAGES["timed"] = "probe_stage:Timed"
