"""Old weights in today's code: what changed between two versions, found without guessing."""
