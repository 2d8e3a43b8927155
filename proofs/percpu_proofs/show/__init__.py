"""Memory maps of a state, as text that fits a mail and as SVG, and the kernel's statistics."""
