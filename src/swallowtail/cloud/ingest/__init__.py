"""Store in: what an acknowledgement stands on (design, "Cloud"; docs/wire.md §8)."""
