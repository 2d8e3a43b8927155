"""Who runs next: schedulers that search all schedules, and schedulers that make one."""
