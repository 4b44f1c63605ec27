"""Makes checkpoints of old files; pickles are read in a process of their own."""
