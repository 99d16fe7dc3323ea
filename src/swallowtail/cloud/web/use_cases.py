"""The use cases that handlers call, each found by its class."""

from collections.abc import Iterator
from typing import Any, TypeVar

from fastapi import Depends
from starlette.requests import Request

UseCase = TypeVar("UseCase")


class UseCases:
    """One instance of each class of use cases; the composition root creates it."""

    def __init__(self, *instances: object) -> None:
        self._by_class: dict[type, object] = {type(one): one for one in instances}
        assert len(self._by_class) == len(instances), "two instances of one class of use cases"

    def __iter__(self) -> Iterator[type]:
        """Return an iterator over the classes."""
        return iter(self._by_class)

    def get(self, kind: type[UseCase]) -> UseCase:
        """Return the instance of a class."""
        found = self._by_class[kind]
        assert isinstance(found, kind)
        return found


def provided(kind: type[UseCase]) -> Any:
    """Create the dependency by which a handler receives the use cases of a class."""

    async def get(request: Request) -> UseCase:
        use_cases: UseCases = request.app.state.use_cases
        return use_cases.get(kind)

    return Depends(get)
