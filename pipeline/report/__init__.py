"""`report.html`: one page for people, drawn from a manifest alone. It loads nothing from any network."""

from enginesmith.pipeline.report.page import render, write

__all__ = ["render", "write"]
