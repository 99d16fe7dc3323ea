"""Swallowtail connects a hospital's imaging and record systems to a cloud through one outbound
encrypted WebSocket.
"""

__version__ = "0.1.0"
