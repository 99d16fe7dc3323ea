"""Errors of use cases. The class docstring is the message when none is given.

CloudError
├── AmbiguousFacilityError  a facility has to be named
├── ForbiddenError          the principal may not do this, but the thing may be disclosed
└── InvalidValueError       one value of the request cannot be used; `field` names it
"""

from swallowtail.cloud.model.port_errors import CloudError


class ForbiddenError(CloudError):
    """The principal is not allowed to do this."""


class InvalidValueError(CloudError):
    """One value of a request cannot be used.

    `field` is its JSON path (`$.name`) or the name of a parameter.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class AmbiguousFacilityError(CloudError):
    """The request names no facility, and there is not exactly one."""
