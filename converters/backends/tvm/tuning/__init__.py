"""A search for better schedules of the kernels in `converters/backends/tvm/kernels`, by measurement, with a memory."""
