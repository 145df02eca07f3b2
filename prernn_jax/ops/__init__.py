"""Pure functions on arrays: convolution, pooling and batch statistics that are fast on CPU."""
