"""The computations that take most of the training time: numba on a CPU, Triton on a GPU, torch elsewhere."""
