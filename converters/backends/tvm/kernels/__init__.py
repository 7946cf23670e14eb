"""Kernels for CPUs written in TVM's own IR, and the Relax pass that puts them into a network.

Kernels are built by plain Python loops over TVM's TIR builder: the loop nest is what is wanted from the start. What can be
chosen in it freely is a kernel's `Schedule`, which has a default that needs no search; `converters/backends/tvm/tuning` searches for
better ones.

The path of a model, from `backends/tvm_import.py` to `backends/tvm_codegen.py`:

1. `apply` is the way in. `wide` makes float32 of 16-bit floats, `graph` reads the Relax function as operators.
2. `regions` plans: each operator goes to the match that `operators/` has for it, or to one for a whole group
   (`composites`). The match gives an `Anchor` (`anchors`): what is read, and how the kernel is made. `choose` and
   `equivalent` pick among kernels for a convolution; `fusion` gathers the elementwise operators that follow (`steps`) into
   the kernel's `Expression`; operators that only reorder numbers become `views`.
3. `rewrite` writes the new function: `places` knows where each tensor lies and changes it over (`borders`) where a kernel
   wants it elsewhere, `calls` builds one function for all kernels that are alike.
4. `traces` carries through TVM's passes which ONNX nodes a call stands for, `fused` sees through TVM's own fusion, and
   `account` makes the list of layers of it.

What kernels are made of: `emit` (vectors, tasks, functions), `layout` (blocked planes and their halo), `tiles`, `schedule`,
`workload` (what a schedule is found for), `expression` and `output` (the end of every kernel), `vector_math` (exp, erf).

The kernels:

- of planes: `convolution`, `winograd`, `depthwise`, `transposed`, `pooling`, `resample`, `plane_norm`, `pointwise`;
- of rows: `products`, `attention`, `normalization` (softmax, layer norm), `strided` (elementwise and copies in any order);
- of 8-bit integers: `int8/`, where `quantized` reads a Q/DQ graph and `dots` knows each target's instructions;
- of detectors: `detection/`: pooling of boxes, suppression, TopK.
"""
