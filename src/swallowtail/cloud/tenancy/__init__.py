"""Use cases of organisations, facilities and archives."""
