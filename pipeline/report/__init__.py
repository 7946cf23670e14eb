"""`report.html`: one page for people, drawn from a record alone. It loads nothing from any network."""

from enginesmith.pipeline.report.page import render, write
from enginesmith.pipeline.report.sensitivity import render_sensitivity, write_sensitivity

__all__ = ["render", "render_sensitivity", "write", "write_sensitivity"]
