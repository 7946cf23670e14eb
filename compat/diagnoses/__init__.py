"""What the tools' error messages mean: pattern -> cause, remedy, repair, links. The data is in the YAML files beside this."""

from enginesmith.compat.diagnoses.diagnosis import Diagnosis
from enginesmith.compat.diagnoses.explanation import Explanation, Hit, diagnose, explain_log
from enginesmith.compat.diagnoses.headline import Headline, Quote
from enginesmith.compat.diagnoses.registry import diagnoses, get_diagnosis

__all__ = [
    "Diagnosis",
    "Explanation",
    "Headline",
    "Hit",
    "Quote",
    "diagnose",
    "diagnoses",
    "explain_log",
    "get_diagnosis",
]
