"""Use cases of Links: their credentials, sessions and configuration."""
