"""`report.html`: one page for people, drawn from a record alone. It loads nothing from any network."""

from enginesmith.pipeline.report.farm import render_farm, write_farm
from enginesmith.pipeline.report.page import render, write
from enginesmith.pipeline.report.sensitivity import render_sensitivity, write_sensitivity

__all__ = ["render", "render_farm", "render_sensitivity", "write", "write_farm", "write_sensitivity"]
