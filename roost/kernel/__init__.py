"""Kernels: the catalogue of those roost knows, and what each can do."""
