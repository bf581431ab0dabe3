"""The one delivery engine: from a source, in batches, to a target, until the outcome is settled."""
