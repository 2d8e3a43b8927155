"""Machine-checked results: obligations, the engines that discharge them, and the ledger."""
