"""Swallowtail: a hospital's systems connected to a cloud through one outbound WebSocket."""

__version__ = "0.1.0"
