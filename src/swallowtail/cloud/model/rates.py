"""Tables of token buckets that are bounded in memory; the time is an argument."""

import ipaddress
from collections import OrderedDict
from typing import Final

from swallowtail.sansio.token_bucket import Rate, TokenBucket

MAX_TEXT: Final = 64
"""Characters of an invalid address."""


class BucketTable:
    """A bucket for each key, `most` at once.

    The bucket that was used longest ago is replaced by a new key, but only once it is full, when
    forgetting it forgives nothing. Until then new keys share one more bucket: whoever has many
    keys gets neither more memory nor a fresh bucket out of them.
    """

    def __init__(self, rate: Rate, now: float, *, most: int) -> None:
        self._rate, self._most = rate, most
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        self._shared = TokenBucket(rate, now)

    def __len__(self) -> int:
        """Return how many keys have a bucket of their own."""
        return len(self._buckets)

    def take(self, key: str, now: float) -> float:
        """Take one for a key and return 0, or take nothing and return the seconds to wait."""
        return self._bucket(key, now).take(now)

    def wait(self, key: str, now: float) -> float:
        """Return in how many seconds one may be taken for a key; 0: at once."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._shared if len(self._buckets) >= self._most else None
        return bucket.wait(now) if bucket is not None else 0.0

    def _bucket(self, key: str, now: float) -> TokenBucket:
        if (bucket := self._buckets.get(key)) is not None:
            self._buckets.move_to_end(key)
            return bucket
        if len(self._buckets) >= self._most:
            oldest = next(iter(self._buckets))
            if not self._buckets[oldest].is_full(now):
                return self._shared
            del self._buckets[oldest]
        bucket = self._buckets[key] = TokenBucket(self._rate, now)
        return bucket


def host_of(address: str) -> str:
    """Return what counts as one sender: an IPv4 address, or the /64 of an IPv6 address.

    Whoever has one address of a /64 usually has all of them (RFC 6177).
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:MAX_TEXT]
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(parsed), 64), strict=False))
    return str(parsed)
