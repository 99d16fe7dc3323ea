"""The words and shapes that every protocol machine shares.

Standard library only; no I/O, no clock, no random source.
"""
