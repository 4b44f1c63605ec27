"""The code of checkpoints on many machines: a mirror that all read, and one task on each node."""
