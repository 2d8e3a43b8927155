"""What a kernel's log says of percpu memory: failures, reports, and what else people send with "
"it."""
