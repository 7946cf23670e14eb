"""Graphs with QuantizeLinear and DequantizeLinear on integers: activations in 8 bits between kernels, products in int32."""
