"""Which model answers a step, and what follows when its answer will not do: the ladder (no I/O) and its dispatcher."""
