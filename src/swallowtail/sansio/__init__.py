"""The common parts of protocol machines: interface, errors, backoff and token bucket.

Standard library only; no I/O, no clock, no random source.
"""
