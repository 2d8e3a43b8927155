"""Operations applied to an allocator: the language, the driver, verdicts, processes."""
