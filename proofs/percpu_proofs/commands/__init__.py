"""The commands of `percpu-spec`, a module each."""
