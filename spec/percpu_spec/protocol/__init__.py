"""The allocator as a small abstract machine at page level."""
