"""The protection of the audit: its keys, its exported heads, and counted events."""
