"""Kernels for CPUs written in TVM's own IR, and the Relax pass that puts them into a network.

`regions.use_kernels` is the way in. Kernels are built by plain Python loops over TVM's TIR builder: the loop nest is
what is wanted from the start, so nothing is scheduled and nothing is searched for.
"""
