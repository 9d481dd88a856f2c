"""Kernels in the form that is fastest on each backend and device."""
