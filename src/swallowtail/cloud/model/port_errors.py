"""Errors of ports. The class docstring is the message when none is given.

CloudError
├── NotFoundError            also what another tenant's things look like
├── ConflictError            a name or version is taken; read again and decide
├── FencedError              a newer session of the Link has taken over
├── DeletionRunningError     the stored instance is being deleted; send it again in a minute
├── InvalidCursorError       the page cursor is not one that this list gave out
├── TooLargeError            more bytes than the cap allows
└── StorageUnavailableError  disk, database or blob store is down; nothing was kept, try again later
"""


class CloudError(Exception):
    """The Cloud could not do this."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (self.__doc__ or "").strip().splitlines()[0])


class NotFoundError(CloudError):
    """No such thing."""


class ConflictError(CloudError):
    """Something else is in the way; read the present state and decide again."""


class FencedError(CloudError):
    """A newer session of this Link has taken over; nothing of the old one is committed."""


class InvalidCursorError(CloudError):
    """The cursor is not one that this list gave out; start at the first page."""


class DamagedError(CloudError):
    """Length or checksum differ from those of the sender; nothing was stored."""


class TooLargeError(CloudError):
    """The instance is larger than the limit."""


class StorageUnavailableError(CloudError):
    """Storage is not available; nothing was kept, try again later."""


class DeletionRunningError(CloudError):
    """The stored instance is being deleted; send it again in a minute."""
