"""Kernels for CPUs written in TVM's own IR, and the Relax pass that puts them into a network.

`apply.use_kernels` is the way in. Kernels are built by plain Python loops over TVM's TIR builder: the loop nest is
what is wanted from the start. What can be chosen in it freely is a kernel's `Schedule`, which has a default that needs
no search; `converters/tvm_tuning` searches for better ones.
"""
