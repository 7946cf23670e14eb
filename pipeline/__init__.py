"""The job: recipe, plan, store, workers, events, manifest, report, command line, model zoo. Knows no framework."""

__version__ = "0.1.0"
