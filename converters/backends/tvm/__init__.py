"""TVM modules for CPUs."""
