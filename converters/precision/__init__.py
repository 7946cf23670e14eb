"""The precision of a graph: which nodes compute in fewer bits, the rewrite, its stand-in, and the proof of what was built.

TensorRT takes the precision from the graph, so it is written there: Cast nodes at boundaries, weights in the lower type.
"""
