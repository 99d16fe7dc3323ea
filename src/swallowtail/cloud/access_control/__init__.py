"""Use cases of access: authentication, and the administration of API tokens."""
