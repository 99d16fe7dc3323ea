"""The environment of a Cloud: its clocks, its random sources and the name of its machine.

Disk and network are adapters (`composition.adapters`).
"""

import random
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from swallowtail.cloud.model.environment import Clock, Randomness


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The clock, random source and limits of a Cloud; the defaults are the machine's own."""

    clock: Clock = time.time
    monotonic: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random
    """Numbers from 0 to 1, which spread retries; not for secrets."""
    random_bytes: Randomness = secrets.token_bytes
    node: str = socket.gethostname()
