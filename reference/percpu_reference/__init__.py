"""The reference allocator: does what the kernel does, bit for bit, under contracts."""

from percpu_reference.variants import (
    DEFAULT,
    VARIANTS,
    Allocator,
    UnknownVariantError,
    VariantFileError,
    build,
)

__all__ = ["DEFAULT", "VARIANTS", "Allocator", "UnknownVariantError", "VariantFileError", "build"]
