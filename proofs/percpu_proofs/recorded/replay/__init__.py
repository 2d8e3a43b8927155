"""A recorded run replayed by the model: the order of steps that explains every event."""
