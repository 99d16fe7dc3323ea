"""What a configuration document may hold, and what a refused one costs."""

import msgspec
import pytest

from swallowtail.calls.codec import encode
from swallowtail.calls.config import (
    MAX_ADDRESSES,
    MAX_PROBLEMS,
    InvalidConfigurationError,
    parse,
    refusal,
)
from swallowtail.calls.document import Problem

LISTENER = {"name": "main", "ae_title": "SWALLOWTAIL", "port": 11112}
DEVICE = {"name": "ct-1", "ae_title": "HERON", "addresses": ["10.1.2.3"]}


def refused(document: object) -> InvalidConfigurationError:
    with pytest.raises(InvalidConfigurationError) as caught:
        parse(msgspec.json.encode(document))
    assert refusal(1, caught.value.problems).problems == caught.value.problems, (
        "all of it fits into one message"
    )
    return caught.value


@pytest.mark.parametrize(
    "change",
    [
        {"name": "main\n"},
        {"ae_title": "HERON\n"},
        {"sop_classes": ["1.2\n"]},
        {"services": ["storage\n"]},
        {"unknown_devices": "accept\n"},
        {"address": "10.0.0.1\n"},
    ],
)
def test_a_line_feed_at_the_end_is_not_overlooked(change: dict[str, object]) -> None:
    parse(msgspec.json.encode({"listeners": [LISTENER]}))
    assert next(iter(change)) in refused({"listeners": [LISTENER | change]}).problems[0].field


@pytest.mark.parametrize("title", [" ", "A\\B", "A\tB", "\x1b", "A\0", "Küche"])
def test_an_ae_title_that_is_none_is_refused_in_words(title: str) -> None:
    for document in (
        {"listeners": [LISTENER | {"ae_title": title}]},
        {"devices": [DEVICE | {"ae_title": title}]},
    ):
        (problem,) = refused(document).problems
        assert problem.field.endswith("ae_title")
        assert "not an AE title" in problem.message
        assert "PS3.5" in problem.message


@pytest.mark.parametrize("uid", ["1..2", "1.2.", ".1", "1.x"])
def test_a_uid_that_is_none_is_refused_in_words(uid: str) -> None:
    (problem,) = refused({"listeners": [LISTENER | {"transfer_syntaxes": [uid]}]}).problems
    assert "not a UID" in problem.message


def test_a_long_list_of_problems_is_cut_so_that_it_can_be_sent() -> None:
    devices = [
        DEVICE | {"name": f"ct-{number}", "listeners": ["nowhere"] * 64} for number in range(1000)
    ]
    assert len(refused({"devices": devices}).problems) == MAX_PROBLEMS


@pytest.mark.parametrize("letter", ["x", "鶴"])
def test_whatever_the_problems_a_refusal_is_one_message(letter: str) -> None:
    told = refusal(1, (Problem(field=letter * 1_000, message=letter * 1_000),) * 200)
    assert 10 < len(told.problems) <= MAX_PROBLEMS
    encode(told)


def test_a_long_value_does_not_come_back_in_the_problem() -> None:
    for document in (
        {"devices": [DEVICE | {"addresses": ["x" * 1_000_000]}]},
        {"listeners": [LISTENER | {"address": "x" * 1_000_000}]},
        {"listeners": [LISTENER | {"echo": "x" * 1_000_000}]},
        {"x" * 1_000_000: 1},
    ):
        assert len(str(refused(document))) < 600


def test_more_addresses_than_a_link_can_judge_in_time_are_refused() -> None:
    device = DEVICE | {"addresses": ["10.1.2.3"] * 64}
    count = MAX_ADDRESSES // 64
    devices = [device | {"name": f"ct-{number}"} for number in range(count + 1)]
    parse(msgspec.json.encode({"devices": devices[:count]}))
    assert "addresses in all" in refused({"devices": devices}).problems[0].message
