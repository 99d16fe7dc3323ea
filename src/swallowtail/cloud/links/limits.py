"""How many sessions may start and how many wrong codes are answered: token buckets that take the time as an argument."""

from collections import OrderedDict
from typing import Final

from swallowtail.cloud.model.rates import Rate, TokenBucket

MAX_ADDRESSES: Final = 65_536
"""Addresses remembered at once, about 8 MB; beyond it the one seen longest ago is forgotten, the global bucket still holds."""

ACCEPTS: Final = Rate(per_second=200.0, burst=200.0)
"""New sessions on this node; a TLS handshake costs about 1 ms of CPU (10,000 Links return within 120 s)."""
WRONG_PER_ADDRESS: Final = Rate(per_second=1 / 30, burst=10.0)
"""Wrong codes from one address: a hospital behind one address may have several Links with a stale code."""
WRONG_GLOBAL: Final = Rate(per_second=20.0, burst=200.0)
"""Wrong codes from everywhere."""


class WrongCodes:
    """Counts wrong codes per address and over all addresses; both are asked before a code is even looked up.

    A right code costs nothing, so a hospital that comes back is never hindered by its own earlier sessions.
    """

    def __init__(self, now: float, *, per_address: Rate = WRONG_PER_ADDRESS, everywhere: Rate = WRONG_GLOBAL) -> None:
        self._rate = per_address
        self._everywhere = TokenBucket(everywhere, now)
        self._addresses: OrderedDict[str, TokenBucket] = OrderedDict()

    def wait(self, address: str, now: float) -> float:
        """Say how long `address` has to wait before a code from it is looked at again; 0 when it need not."""
        bucket = self._addresses.get(address)
        return max(self._everywhere.wait(now), bucket.wait(now) if bucket else 0.0)

    def wrong(self, address: str, now: float) -> None:
        """Note a wrong code."""
        bucket = self._addresses.pop(address, None) or TokenBucket(self._rate, now)
        self._addresses[address] = bucket
        while len(self._addresses) > MAX_ADDRESSES:
            self._addresses.popitem(last=False)
        bucket.take(now)
        self._everywhere.take(now)
