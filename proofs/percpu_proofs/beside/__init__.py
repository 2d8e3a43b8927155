"""The kernel's C beside the model's Python, step against step."""
