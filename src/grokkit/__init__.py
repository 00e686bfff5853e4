"""Accelerators for delayed generalization, and a fair way to measure them."""
