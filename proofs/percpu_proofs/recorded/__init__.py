"""What real kernels left behind, read and replayed: traces, states, boot logs, vectors."""
