"""What the Cloud is told unasked: bounded, coalesced, overflow counted."""

import msgspec

from swallowtail.calls.codec import encode
from swallowtail.calls.report import (
    AssociationEnded,
    EndpointStates,
    ObservationReport,
    UnmatchedDevice,
)
from swallowtail.link.reports import (
    COALESCE,
    MAX_BATCH,
    MAX_COUNTED,
    MAX_ENDED,
    ObservationBuffer,
)


def unknown(title: str = "US9", at: float = 1.0) -> UnmatchedDevice:
    return UnmatchedDevice(
        listener="echo-room",
        address="10.0.0.9",
        calling_ae=title,
        called_ae="SWALLOW",
        reason="calling-ae",
        count=1,
        first=at,
        last=at,
    )


def ended(number: int = 0) -> AssociationEnded:
    return AssociationEnded(
        association=number.to_bytes(16, "big"),
        listener="l",
        address="a",
        calling_ae="c",
        called_ae="s",
        outcome="released",
    )


def test_nothing_seen_nothing_sent():
    reports = ObservationBuffer()
    assert reports.next_due(5.0) is None
    assert reports.take(5.0) is None


def test_the_first_observation_of_a_device_is_reported_at_once_and_repeats_together():
    reports = ObservationBuffer()
    reports.unknown(unknown(at=1.0))
    assert reports.take(10.0) == ObservationReport(observations=(unknown(at=1.0),))
    reports.unknown(unknown(at=11.0))
    reports.unknown(unknown(at=12.0))
    assert reports.take(12.0) is None
    assert reports.next_due(12.0) == 10.0 + COALESCE
    found = reports.take(10.0 + COALESCE)
    assert found is not None
    assert [(seen.count, seen.first, seen.last) for seen in found.observations] == [(2, 11.0, 12.0)]


def test_only_the_newest_state_of_the_endpoints_counts():
    reports = ObservationBuffer()
    reports.endpoints(EndpointStates(version=1, endpoints=()))
    reports.endpoints(EndpointStates(version=2, endpoints=()))
    assert reports.take(0.0) == ObservationReport(
        observations=(EndpointStates(version=2, endpoints=()),)
    )


def test_a_flood_of_titles_is_bounded_and_counted():
    reports = ObservationBuffer()
    for number in range(MAX_COUNTED + 7):
        reports.unknown(unknown(f"US{number}"))
    batches = []
    while (batch := reports.take(0.0)) is not None:
        batches.append(batch)
    assert sum(len(batch.observations) for batch in batches) == MAX_COUNTED
    assert sum(batch.dropped for batch in batches) == 7
    assert all(len(batch.observations) <= MAX_BATCH for batch in batches)


def test_ended_associations_keep_the_newest_and_count_the_rest():
    reports = ObservationBuffer()
    for number in range(MAX_ENDED + 3):
        reports.ended(ended(number))
    first = reports.take(0.0)
    assert first is not None
    assert first.dropped == 3
    assert first.observations[0] == ended(3)


def test_a_batch_that_did_not_arrive_is_reported_again_in_order_with_its_counts():
    reports = ObservationBuffer()
    reports.endpoints(EndpointStates(version=1, endpoints=()))
    reports.ended(ended(1))
    reports.ended(ended(2))
    reports.unknown(unknown(at=1.0))
    lost = reports.take(0.0)
    assert lost is not None
    reports.endpoints(EndpointStates(version=2, endpoints=()))
    reports.ended(ended(3))
    reports.unknown(unknown(at=7.0))
    reports.restore(lost)
    again = reports.take(COALESCE)
    assert again is not None
    assert again.observations[:4] == (
        EndpointStates(version=2, endpoints=()),
        ended(1),
        ended(2),
        ended(3),
    )
    assert (
        again.observations[4].count,
        again.observations[4].first,
        again.observations[4].last,
    ) == (2, 1.0, 7.0)


def test_a_full_batch_of_long_words_fits_into_one_message():
    reports = ObservationBuffer()
    for number in range(MAX_BATCH):
        reports.unknown(
            UnmatchedDevice(
                listener="l" * 64,
                address="fd00:1111:2222:3333:4444:5555:6666:7777",
                calling_ae=f"{number:016}",
                called_ae="C" * 16,
                reason="calling-ae",
                count=2**31,
                first=1e9,
                last=2e9,
            )
        )
    batch = reports.take(0.0)
    assert batch is not None
    assert len(batch.observations) == MAX_BATCH
    encode(batch)


def rejected(
    number: int, title: str = "c", reason: str = "too-many-associations"
) -> AssociationEnded:
    return msgspec.structs.replace(
        ended(number), outcome="rejected", reason=reason, calling_ae=title
    )


def test_rejected_associations_are_counted_and_a_flood_of_them_is_bounded():
    reports = ObservationBuffer()
    reports.ended(rejected(0))
    first = reports.take(10.0)
    assert first is not None
    assert [seen.count for seen in first.observations] == [1]  # told at once
    for number in range(1, 10_001):
        reports.ended(rejected(number))
        reports.ended(rejected(number, title=f"US{number}"))
    found, now = [], 11.0
    while (
        due := reports.next_due(now)
    ) is not None and due < 11.0 + COALESCE:  # a new association makes nothing due meanwhile
        now = due
        report = reports.take(now)
        assert report is not None
        found.append(report)
        reports.ended(rejected(0, title=f"new{len(found)}"))
    assert len(found) <= 1 + MAX_COUNTED // MAX_BATCH
    seen = [one for report in found for one in report.observations if one.calling_ae == "c"]
    assert [(one.outcome, one.count) for one in seen] == [("rejected", 10_000)]


def test_a_report_of_rejections_that_did_not_arrive_is_added_to_the_next():
    reports = ObservationBuffer()
    for number in range(3):
        reports.ended(rejected(number))
    report = reports.take(1.0)
    assert report is not None
    reports.ended(rejected(9))
    reports.restore(report)
    again = reports.take(1.0 + COALESCE)
    assert again is not None
    assert [seen.count for seen in again.observations] == [4]
