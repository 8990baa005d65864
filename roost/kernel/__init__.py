"""Kernels: the catalogue of known kernels, and their capabilities."""
