"""Store in: the steps before an acknowledgement (design, "Cloud"; docs/wire.md §8)."""
