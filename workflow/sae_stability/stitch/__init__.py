"""Stitching: what a larger SAE has that a smaller one lacks, and every SAE between the two.

Definitions: Leask, Bussmann et al., "Sparse Autoencoders Do Not Find Canonical Units of Analysis" (arXiv 2502.04878),
section 4.
"""
