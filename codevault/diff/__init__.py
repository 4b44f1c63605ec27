"""What changed between two snapshots: code, selection, architecture, packages; nothing runs."""
