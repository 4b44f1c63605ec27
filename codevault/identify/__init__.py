"""Which commits an old file without provenance can come from; nothing of it is run."""
