"""Traces of kernels, read whole or not at all, however they were written."""
