"""Tokens limited to a facility, every route, shared and guessed UIDs.

Nothing of another facility is seen, changed or hidden.

The table of routes is walked, so a new route is asked at once; one that nothing is known to ask of
fails the test.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import pytest

from swallowtail.cloud.model.tenancy import Role
from swallowtail.cloud.web import routes
from swallowtail.cloud.web.access import Limited
from swallowtail.cloud.web.route import Route
from tests.unit.cloud.web.two_facilities import (
    BY_ARCHIVE,
    OURS,
    SECRET,
    STUDY,
    Request,
    World,
    requests,
)

ALL = [(prefix + route.path, route) for prefix, routes in routes.TABLES for route in routes]
OF_TENANTS = [(path, route) for path, route in ALL if not route.roles <= {Role.OPERATOR}]
FILTERED = [
    (path, route)
    for path, route in OF_TENANTS
    if route.limited in {Limited.FILTERED, Limited.BY_FACILITY}
]
NO_PICTURE = {"retrieve_rendered", "retrieve_rendered_frames", "frame_thumbnail"}
NO_PICTURE |= {f"{one}_thumbnail" for one in ("study", "series", "instance")}
"""What is stored here cannot be shown: 422, where it is found."""

Make = Callable[..., Awaitable[World]]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    worlds: list[World] = []

    async def opened(*, together: bool = True, theirs_first: bool = True, who: str = OURS) -> World:
        worlds.append(World(together=together, theirs_first=theirs_first, who=who))
        return await worlds[-1].open()

    yield opened
    for world in worlds:
        await world.close()


def reported(answer: httpx2.Response) -> tuple[Any, ...]:
    """Return everything that an answer says; but for the boundary of its parts, which is random."""
    kind = answer.headers.get("content-type", "")
    content = answer.content
    if found := re.search("boundary=([0-9a-f]+)", kind):
        kind, content = kind.replace(found[1], "B"), content.replace(found[1].encode(), b"B")
    headers = {name: value for name, value in answer.headers.items() if name != "content-type"}
    return answer.status_code, kind, content, headers


def title(request: Request) -> str:
    return f"{request.route.method} {request.path} {request.query} {str(request.body)[:120]}"


Routes = list[tuple[str, Route]]


def by_method(routes: Routes) -> tuple[Routes, Routes, Routes]:
    """Return those that read, change and remove, what was named first being removed last."""
    reading = [(path, route) for path, route in routes if route.method == "GET"]
    changing = [(path, route) for path, route in routes if route.method not in {"GET", "DELETE"}]
    return (
        reading,
        changing,
        [(path, route) for path, route in reversed(routes) if route.method == "DELETE"],
    )


async def walk(
    world: World, *, failed: set[str] | None = None
) -> list[tuple[str, tuple[Any, ...]]]:
    """Read everything, change everything, remove everything, and read everything again."""
    answers = []
    reading, changing, removing = by_method(FILTERED)
    for some in (reading, changing, removing, reading):
        for request in requests(world, some):
            answer = await world.ask(request)
            if SECRET in answer.content:
                pytest.fail(f"{title(request)}: {answer.text[:300]}")
            if failed is not None and answer.status_code < 300:
                failed.discard(request.route.endpoint.__name__)
            answers.append((title(request), reported(answer)))
    return answers


@pytest.mark.parametrize("who", [OURS, BY_ARCHIVE])
@pytest.mark.parametrize("theirs_first", [True, False], ids=["theirs first", "ours first"])
async def test_every_answer_is_the_same_whether_or_not_another_facility_holds_the_uids(
    make: Make, theirs_first: bool, who: str
) -> None:
    together = await walk(await make(theirs_first=theirs_first, who=who))
    alone = await walk(await make(theirs_first=theirs_first, who=who, together=False))
    assert len(together) == len(alone) > 500
    for (what, one), (_, other) in zip(together, alone, strict=True):
        assert one == other, what


@pytest.mark.parametrize("who", [OURS, BY_ARCHIVE])
async def test_whatever_one_facility_does_changes_and_hides_nothing_of_another(
    make: Make, who: str
) -> None:
    world = await make(who=who)
    before = await seen_by_theirs(world)
    rows, listed = world.rows_of_theirs(), await instances_of_theirs(world)
    assert all(rows.values()), "there is something of each kind"
    await walk(world)
    assert world.rows_of_theirs() == rows
    assert await instances_of_theirs(world) == listed
    after = await seen_by_theirs(world)
    for what, answer in before.items():
        assert after[what] == answer, what


async def seen_by_theirs(world: World) -> dict[str, tuple[Any, ...]]:
    return {
        title(request): reported(await world.ask(request, "theirs"))
        for request in requests(world, by_method(FILTERED)[0])
    }


async def instances_of_theirs(world: World) -> list[Any]:
    """Return theirs as a reader of all facilities sees it, the hidden copies left out."""
    token = world.tokens["all", Role.CLINICIAN]
    listed = (await world.cloud.call("GET", "instances", token)).json()["items"]
    studies = (await world.cloud.call("GET", "studies", token)).json()["items"]
    return [one for one in (*listed, *studies) if one["facility"] == "theirs"]


async def test_each_route_answers_about_ones_own_so_that_the_walk_means_something(
    make: Make,
) -> None:
    """A new route that limited tokens may use needs something to ask of it in `two_facilities`."""
    world, failed = await make(), {route.endpoint.__name__ for _, route in FILTERED}
    await walk(world, failed=failed)
    assert failed == NO_PICTURE
    world = await make()
    for request in requests(
        world, [(path, route) for path, route in FILTERED if route.endpoint.__name__ in NO_PICTURE]
    ):
        if request.own:
            assert (await world.ask(request)).status_code == 422, title(request)


@pytest.mark.parametrize(
    ("who", "refused"),
    [(OURS, {Limited.REFUSED}), (BY_ARCHIVE, {Limited.REFUSED, Limited.BY_FACILITY})],
)
async def test_what_concerns_the_organisation_is_refused_before_the_body_is_looked_at(
    make: Make, who: str, refused: set[Limited]
) -> None:
    world = await make(who=who)
    for path, route in OF_TENANTS:
        if route.limited in refused:
            target = re.sub(r"{\w+}", "rule", path)
            answer = await world.ask(Request(route, target, {}, {"no": "sense"}, own=False))
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (
                route.method,
                path,
            )
            assert SECRET not in answer.content


def test_every_route_says_what_it_does_for_a_limited_token() -> None:
    assert {route.endpoint.__name__ for _, route in ALL if route.limited is Limited.SAME} == {
        "who_am_i",
        "configuration_schema",
    }
    assert all(isinstance(route.limited, Limited) for _, route in ALL)


async def test_who_sees_both_facilities_gets_each_study_apart_and_may_name_one(make: Make) -> None:
    world = await make()
    token = world.tokens["all", Role.CLINICIAN]

    async def seen(path: str, **query: str) -> list[str]:
        answer = await world.cloud.call("GET", path, token, **query)
        if not path.startswith("/dicomweb"):
            return sorted(one["facility"] for one in answer.json()["items"])
        return sorted("theirs" if "SECRET" in str(one) else "ours" for one in answer.json())

    both = ["ours", "theirs"]
    assert sorted(set(await seen("instances", study=STUDY))) == both
    for path in ("/dicomweb/studies", f"/dicomweb/studies/{STUDY}/series"):
        assert await seen(path, StudyInstanceUID=STUDY) == both
        for name in both:
            assert await seen(path, StudyInstanceUID=STUDY, facility=name) == [name]
    for path in (f"/dicomweb/studies/{STUDY}/metadata", "studies", "instances"):
        assert set(await seen(path)) == set(both)
        for name in both:
            assert set(await seen(path, facility=name)) == {name}
    mine = await world.cloud.call("GET", f"/dicomweb/studies/{STUDY}", token, facility="ours")
    assert (mine.status_code, SECRET in mine.content) == (200, False)
