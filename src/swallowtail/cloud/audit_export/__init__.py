"""Exports the audit chains to the organisations' audit record repositories.

PS3.15 A.5 messages by syslog over TLS (ITI-20).
"""
