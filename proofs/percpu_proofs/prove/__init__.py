"""Machine-checked results: claims, the engines that discharge them, and the ledger."""
