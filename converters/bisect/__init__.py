"""Find what is to blame: the smallest part of a graph that still fails, and the first tensor that differs."""
