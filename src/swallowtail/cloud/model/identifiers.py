"""Identifiers that the Cloud assigns."""

import base64

from swallowtail.cloud.model.environment import Randomness


def new_id(random: Randomness) -> str:
    """Return a new identifier: 80 random bits as 16 characters of a-z and 2-7."""
    return base64.b32encode(random(10)).decode().lower()
