"""What guards the audit: its keys, its exported heads, and what is counted before it is audited."""
