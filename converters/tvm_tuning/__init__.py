"""A search for better schedules of the kernels in `converters/tvm_kernels`, by measurement, with a memory."""
