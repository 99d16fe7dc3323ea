"""Security codes of Links and tokens of the API.

Minted here, typed by people, kept only as a keyed hash.

A code is 27 random symbols of Crockford's base 32 and one check symbol, in groups of four: 135
bits, less than one lost by redrawing. The check is the number modulo 37; since 37 is a prime above
32, any one wrong symbol and any swap of neighbours changes it. Crockford needs five more symbols
for remainders above 31; a code whose remainder would need one is drawn again, so that only letters
and digits have to be typed.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
SYMBOLS: Final = 27
GROUP: Final = 4
MODULUS: Final = 37

TOKEN_PREFIX: Final = "swt_"  # noqa: S105 - a prefix that scanners for leaked secrets can look for
TOKEN_BYTES: Final = 24
MAX_SECRET: Final = 256
"""Longer input is not looked at: neither a code nor a token is that long."""

_READ_AS: Final = str.maketrans({"O": "0", "I": "1", "L": "1"})
_DROPPED: Final = dict.fromkeys(
    map(ord, " \t\r\n-_.\u00a0\u00ad\u2010\u2011\u2012\u2013\u2014\u2212")
)
_VALUE: Final = {symbol: value for value, symbol in enumerate(ALPHABET)}

RandomBytes = Callable[[int], bytes]


class MistypedCodeError(Exception):
    """This is not a security code: a symbol is missing, doubled, wrong or swapped."""


def mint_code(random: RandomBytes = secrets.token_bytes) -> str:
    """Return a new security code in groups, to be shown once."""
    while True:
        number = int.from_bytes(random(17), "big") >> 1  # 136 bits for 27 symbols of 5
        if number % MODULUS < len(ALPHABET):
            return _grouped(_symbols(number) + ALPHABET[number % MODULUS])


def normalise_code(text: str) -> str:
    """Read a code as a person typed it.

    Raises MistypedCodeError when the check symbol does not fit.

    Case, spaces and dashes do not matter; O is read as 0, I and L as 1.
    """
    code = (
        text.strip().upper().translate(_DROPPED).translate(_READ_AS)
        if len(text) <= MAX_SECRET
        else ""
    )
    if len(code) != SYMBOLS + 1 or any(symbol not in _VALUE for symbol in code):
        raise MistypedCodeError
    number = 0
    for symbol in code[:-1]:
        number = number * len(ALPHABET) + _VALUE[symbol]
    if number % MODULUS != _VALUE[code[-1]]:
        raise MistypedCodeError
    return code


def _symbols(number: int) -> str:
    return "".join(ALPHABET[(number >> (5 * place)) & 31] for place in reversed(range(SYMBOLS)))


def _grouped(code: str) -> str:
    return "-".join(code[start : start + GROUP] for start in range(0, len(code), GROUP))


def mint_token(random: RandomBytes = secrets.token_bytes) -> str:
    """Return a new API token of 192 random bits, to be shown once."""
    return TOKEN_PREFIX + random(TOKEN_BYTES).hex()


class KeyedHash:
    """The keyed hash by which codes and tokens are stored.

    HMAC-SHA256 under a pepper that is sealed beside the database.

    A fast hash is enough for 128 random bits, and 10,000 Links may connect at once.
    """

    def __init__(self, pepper: bytes) -> None:
        if len(pepper) < 32:
            raise ValueError("a pepper has at least 32 bytes")
        self._pepper = pepper

    def of_code(self, text: str) -> bytes:
        """Return the hash of a code as it was typed.

        A mistyped one has a hash that no code has, and takes the same time.
        """
        try:
            return self._digest(b"swallowtail code 1\0", normalise_code(text).encode())
        except MistypedCodeError:
            return self._digest(
                b"swallowtail no code\0", text[:MAX_SECRET].encode(errors="surrogatepass")
            )

    def of_token(self, token: str) -> bytes:
        """Return the hash of an API token."""
        return self._digest(
            b"swallowtail token 1\0", token[:MAX_SECRET].encode(errors="surrogatepass")
        )

    def _digest(self, purpose: bytes, secret: bytes) -> bytes:
        return hmac.new(self._pepper, purpose + secret, hashlib.sha256).digest()
