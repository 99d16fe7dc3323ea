import tomllib

from swallowtail.sim.installation import ANY_DEVICE, Listening, document


def test_the_document_says_what_was_asked_for() -> None:
    listener = Listening(
        "a", port=104, more={**ANY_DEVICE, "timeouts": {"idle": 5.5}, "sop_classes": ["1.2", "1.3"]}
    )
    device = {"name": "us", "ae_title": 'US "1"', "addresses": ["10.0.0.0/8"]}
    (link,) = tomllib.loads(document([listener.table()], [device]))["link"]
    assert link["listener"] == [
        {
            "name": "a",
            "ae_title": "SWALLOWTAIL",
            "address": "127.0.0.1",
            "port": 104,
            "unknown_devices": "accept",
            "timeouts": {"idle": 5.5},
            "sop_classes": ["1.2", "1.3"],
        }
    ]
    assert link["device"] == [device]
