"""Loops that training spends its time in: numba on the CPU, Triton on a GPU, torch for the rest."""
