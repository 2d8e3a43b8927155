"""Conditions of the allocator's functions, one module for each module of the reference.

Each takes `self`, the allocator, and the function's own parameters by name.
"""
