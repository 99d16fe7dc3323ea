"""What a configuration document may hold, and what a refused one costs."""

import msgspec
import pytest

from swallowtail.calls.codec import encode
from swallowtail.calls.config import (
    LISTENERS,
    MAX_ADDRESSES,
    MAX_PROBLEMS,
    Destination,
    DestinationTimeouts,
    Device,
    InvalidConfigurationError,
    dump,
    parse,
    refusal,
    settings_for,
)
from swallowtail.calls.dicom_listener import DicomListener, Timeouts
from swallowtail.calls.document import Problem

LISTENER = {"name": "main", "ae_title": "SWALLOWTAIL", "port": 11112}
DEVICE = {"name": "ct-1", "ae_title": "HERON", "addresses": ["10.1.2.3"]}
DESTINATION = {"name": "pacs", "host": "10.0.0.9", "port": 104, "ae_title": "PACS"}


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
def test_a_line_feed_at_the_end_is_refused(change: dict[str, object]) -> None:
    parse(msgspec.json.encode({"listeners": [LISTENER]}))
    assert next(iter(change)) in refused({"listeners": [LISTENER | change]}).problems[0].field


@pytest.mark.parametrize("title", [" ", "A\\B", "A\tB", "\x1b", "A\0", "Küche"])
def test_an_invalid_ae_title_is_refused_with_the_rule(title: str) -> None:
    for document in (
        {"listeners": [LISTENER | {"ae_title": title}]},
        {"devices": [DEVICE | {"ae_title": title}]},
    ):
        (problem,) = refused(document).problems
        assert problem.field.endswith("ae_title")
        assert "not an AE title" in problem.message
        assert "PS3.5" in problem.message


@pytest.mark.parametrize("uid", ["1..2", "1.2.", ".1", "1.x"])
def test_an_invalid_uid_is_refused_with_the_rule(uid: str) -> None:
    (problem,) = refused({"listeners": [LISTENER | {"transfer_syntaxes": [uid]}]}).problems
    assert "not a UID" in problem.message


def test_a_long_list_of_problems_is_cut_so_that_it_can_be_sent() -> None:
    devices = [
        DEVICE | {"name": f"ct-{number}", "listeners": ["nowhere"] * 64} for number in range(1000)
    ]
    assert len(refused({"devices": devices}).problems) == MAX_PROBLEMS


@pytest.mark.parametrize("letter", ["x", "鶴"])
def test_whatever_the_problems_a_refusal_is_one_message(letter: str) -> None:
    reported = refusal(1, (Problem(field=letter * 1_000, message=letter * 1_000),) * 200)
    assert 10 < len(reported.problems) <= MAX_PROBLEMS
    encode(reported)


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


def test_a_protocol_that_this_release_lacks_is_named_with_those_it_has():
    document = {"listeners": [LISTENER, LISTENER | {"protocol": "telnet"}]}
    (problem,) = refused(document).problems
    assert problem.field == "$.listeners[1].protocol"
    assert problem.message == "'telnet' is not supported; this release supports dicom"
    (problem,) = refused({"destinations": [DESTINATION | {"protocol": "x"}]}).problems
    assert problem.field == "$.destinations[0].protocol"


def test_a_listener_that_names_no_protocol_is_dicom():
    document = {"listeners": [LISTENER], "destinations": [DESTINATION]}
    named = {
        "listeners": [LISTENER | {"protocol": "dicom"}],
        "destinations": [DESTINATION | {"protocol": "dicom"}],
    }
    assert parse(msgspec.json.encode(document)) == parse(msgspec.json.encode(named))


def test_a_link_gets_a_document_without_defaults_which_means_the_same():
    document = dump(parse(msgspec.json.encode({"listeners": [LISTENER], "devices": [DEVICE]})))
    sent = settings_for(document, {"listener:dicom"})
    assert msgspec.json.decode(sent) == {
        "listeners": [LISTENER | {"protocol": "dicom"}],
        "devices": [DEVICE],
    }
    assert dump(parse(sent)) == document


def test_a_link_of_an_older_release_runs_a_new_field_at_its_default_and_refuses_it_when_set():
    """The Link of here is the older one: the Cloud's listener has a field that it lacks."""

    class NewerListener(DicomListener, frozen=True, kw_only=True, tag="dicom"):
        tls: bool = False

    with pytest.MonkeyPatch.context() as newer:
        newer.setitem(LISTENERS, "dicom", NewerListener)
        plain = settings_for(msgspec.json.encode({"listeners": [LISTENER]}), {"listener:dicom"})
        secure = settings_for(
            msgspec.json.encode({"listeners": [LISTENER | {"tls": True}]}), {"listener:dicom"}
        )
    assert parse(plain).listeners[0].name == "main"
    with pytest.raises(InvalidConfigurationError, match="unknown field `tls`"):
        parse(secure)


def test_defaults_never_change():
    """A Link of an older release applies its own defaults (ADR 0025)."""
    defaults = {
        kind.__name__: {
            field.name: field.default
            for field in msgspec.structs.fields(kind)
            if not isinstance(field.default, msgspec.Struct) and not field.required
        }
        for kind in (DicomListener, Timeouts, Device, Destination, DestinationTimeouts)
    }
    assert defaults == {
        "DicomListener": {
            "address": "0.0.0.0",
            "services": ("verification", "storage"),
            "sop_classes": (),
            "transfer_syntaxes": (),
            "additional_transfer_syntaxes": (),
            "unknown_devices": "reject",
            "echo": "cloud",
            "max_associations": 64,
            "max_associations_per_address": 32,
            "max_pdu": 262_144,
            "max_object": 17_179_869_184,
        },
        "Timeouts": {"associate": 30.0, "idle": 300.0},
        "Device": {"listeners": (), "description": ""},
        "Destination": {
            "calling_ae": "SWALLOWTAIL",
            "connections": 1,
            "max_pdu": 262_144,
            "outstanding": 1,
            "transcoding": "lossless",
            "attempts": 5,
            "at_cap": "park",
            "description": "",
        },
        "DestinationTimeouts": {
            "connect": 10.0,
            "associate": 30.0,
            "response": 120.0,
            "idle": 10.0,
        },
    }
