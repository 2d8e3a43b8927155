"""What a kernel's log says of percpu memory: failures, reports, and what is sent beside it."""
