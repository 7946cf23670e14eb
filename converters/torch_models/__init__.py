"""PyTorch models: where they come from, their weights, their exporters, static detectors."""
