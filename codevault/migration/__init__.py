"""Moves checkpoints to newer code, with the probe as proof; holds the public `migrate`."""
