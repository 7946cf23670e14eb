"""Examples, pictures, samples and metrics."""
