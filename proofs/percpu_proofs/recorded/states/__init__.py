"""States of a kernel's allocator, in text or read out of its memory, as views."""
