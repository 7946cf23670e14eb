"""int8, written into a graph: which products, where their Q/DQ nodes lie, and the scales.

ONNX Runtime's own quantizer chooses whole nodes, where TensorRT wants single inputs (the skip branch of a sum, the inputs
of a product), and puts biases behind DequantizeLinear, which TensorRT refuses.
"""
