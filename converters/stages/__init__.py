"""The stages: one module each, by name in the registry."""
