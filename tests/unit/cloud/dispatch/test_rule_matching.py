"""What each condition matches, when a rule acts, and where it never sends."""

import json
import zlib
from typing import Any

import msgspec
import pytest

from swallowtail.calls.config import Destination, Device
from swallowtail.cloud.dispatch.rule_matching import (
    LOOK_EVERY,
    LOST_REPORT,
    Decision,
    complete_at,
    decide,
    matches,
    tag_of,
)
from swallowtail.cloud.dispatch.sites import Sites
from swallowtail.cloud.model.delivery import Routing, Rule, RuleAction, RuleCondition, Target
from swallowtail.cloud.model.imaging import Instance, InstanceIdentity, Origin, Stored
from tests.conformance.invented import EXPLICIT, NORTH, NOW, US, digest

PACS, ARCHIVE = Target(link="ward", destination="pacs"), Target(link="ward", destination="archive")
ELSEWHERE = Target(link="annex", destination="pacs")
MADE = NOW - 100
RULE = Rule(
    id="r1",
    name="all",
    position=1,
    action=RuleAction(targets=(PACS,), priority=7),
    created=MADE,
    changed=MADE,
)
DOCUMENT = {
    "00080060": {"vr": "CS", "Value": ["US"]},
    "00081030": {"vr": "LO", "Value": ["Abdomen follow-up"]},
    "00080061": {"vr": "CS", "Value": ["US", "SR"]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Heron^Ada", "Ideographic": "鷺"}]},
    "00080050": {"vr": "SH"},
    "00280008": {"vr": "IS", "Value": [12]},
    "00181063": {"vr": "DS", "Value": [33.0, 0.5]},
    "0040A730": {"vr": "SQ", "Value": [{"00080060": {"vr": "CS", "Value": ["CT"]}}]},
}
KEYWORDS = {
    "StudyDescription": "00081030",
    "PatientName": "00100010",
    "AccessionNumber": "00080050",
    "Rows": "00280010",
}


def origin(**more: Any) -> Origin:
    made = {
        "link": "ward",
        "listener": "store",
        "calling_ae": "SONO1",
        "called_ae": "SWALLOWTAIL",
        "peer": "192.0.2.20",
    }
    return Origin(**(made | more))


def routing(
    document: object = DOCUMENT, *, fired: tuple[str, ...] = (), open_: bool = False, **more: Any
) -> Routing:
    instance = Instance(
        id=1,
        identity=InstanceIdentity(sop_instance="1.2", transfer_syntax=EXPLICIT, sha256=digest("x")),
        sop_class=US,
        length=1,
        origin=origin(**more),
        received=NOW,
        visible=True,
        stored=Stored.NEW,
        study="1.2.1",
    )
    raw = document if isinstance(document, bytes) else zlib.compress(json.dumps(document).encode())
    return Routing(
        tenant=NORTH,
        instance=instance,
        document=raw,
        fired=fired,
        patient="\\H-1",
        association_open=open_,
        quiet_since=NOW,
    )


def destination(**more: Any) -> Destination:
    return Destination(
        **({"name": "pacs", "host": "192.0.2.7", "port": 104, "ae_title": "PACS"} | more)
    )


SITES = Sites(
    {
        PACS: destination(),
        ARCHIVE: destination(name="archive", connections=3),
        ELSEWHERE: destination(),
    },
    {},
)


def judged(
    *rules: Rule, of: Routing | None = None, sites: Sites = SITES, now: float = NOW, **more: Any
) -> Decision:
    return decide(
        of or routing(), rules, sites, lambda name: KEYWORDS.get(name, ""), now=now, **more
    )


def changed(**changes: Any) -> Rule:
    return msgspec.structs.replace(RULE, **changes)


def reasons(decision: Decision) -> list[str]:
    return [reason for _, reason in decision.verdicts]


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({}, True),
        ({"calling_ae": "SONO*"}, True),
        ({"calling_ae": "sono?"}, True),
        ({"calling_ae": "CT*"}, False),
        ({"called_ae": "SWALLOWTAIL"}, True),
        ({"called_ae": "OTHER"}, False),
        ({"device": "us-1"}, True),
        ({"device": "ct-*"}, False),
        ({"link": "ward"}, True),
        ({"link": "annex"}, False),
        ({"address": "192.0.2.0/24"}, True),
        ({"address": "192.0.2.20"}, True),
        ({"address": "198.51.100.0/24"}, False),
        ({"address": "2001:db8::/32"}, False),
        ({"address": "nonsense"}, False),
        ({"sop_classes": (US, "1.2.3")}, True),
        ({"sop_classes": ("1.2.3",)}, False),
        ({"modalities": ("CT", "U?")}, True),
        ({"modalities": ("CT", "SR")}, False),
        ({"tags": (("StudyDescription", "abdomen*"),)}, True),
        ({"tags": (("0008,1030", "*follow*"),)}, True),
        ({"tags": (("(00081030)", "Thorax*"),)}, False),
        ({"tags": (("00080061", "SR"),)}, True),
        ({"tags": (("PatientName", "HERON^*"),)}, True),
        ({"tags": (("PatientName", "鷺"),)}, True),
        ({"tags": (("AccessionNumber", "*"),)}, True),
        ({"tags": (("AccessionNumber", "?*"),)}, False),
        ({"tags": (("Rows", "*"),)}, True),
        ({"tags": (("Rows", "240"),)}, False),
        ({"tags": (("00280008", "12"),)}, True),
        ({"tags": (("00181063", "33"),)}, True),
        ({"tags": (("00181063", "0.5"),)}, True),
        ({"tags": (("0040A730", "CT"),)}, False),
        ({"tags": (("NoKeyword", "x"),)}, False),
        (
            {"calling_ae": "SONO1", "modalities": ("US",), "tags": (("StudyDescription", "*"),)},
            True,
        ),
        ({"calling_ae": "SONO1", "modalities": ("CT",)}, False),
    ],
)
def test_a_rule_acts_when_all_its_conditions_hold(condition: dict[str, Any], holds: bool) -> None:
    decision = judged(changed(condition=RuleCondition(**condition)), of=routing(device="us-1"))
    assert bool(decision.deliveries) is holds
    assert bool(reasons(decision)[0]) is not holds
    assert decision.routed.again_at is None


@pytest.mark.parametrize(
    "document",
    [b"no zlib", zlib.compress(b"no json"), zlib.compress(b"[]"), {"00080060": {"Value": []}}, {}],
)
def test_a_document_that_says_nothing_matches_nothing_and_holds_up_nobody(document: object) -> None:
    by_modality = changed(condition=RuleCondition(modalities=("*",)))
    assert reasons(judged(by_modality, RULE, of=routing(document))) == [
        "its modality is not among the rule's",
        "",
    ]


@pytest.mark.parametrize(
    ("more", "acquisitions_only", "acts"),
    [
        ({}, True, True),
        ({"listener": ""}, True, False),
        ({"link": None, "listener": ""}, True, False),
        ({"listener": ""}, False, True),
        ({"link": None, "listener": ""}, False, True),
    ],
)
def test_uploads_and_what_was_retrieved_are_no_acquisitions(
    more: dict[str, Any], acquisitions_only: bool, acts: bool
) -> None:
    assert (
        bool(judged(changed(acquisitions_only=acquisitions_only), of=routing(**more)).deliveries)
        is acts
    )


def test_a_delivery_says_why_and_with_which_priority_and_lane() -> None:
    (one, other) = judged(
        changed(action=RuleAction(targets=(PACS, ARCHIVE), priority=7))
    ).deliveries
    assert (one.target, one.reference, one.lane, one.priority, one.cause) == (
        PACS,
        1,
        "",
        7,
        "rule:r1/1",
    )
    assert (other.target, other.lane) == (ARCHIVE, "\\H-1")


def test_rules_act_in_order_and_a_target_gets_it_once() -> None:
    second = changed(id="r2", name="second", action=RuleAction(targets=(PACS, ARCHIVE)))
    decision = judged(RULE, second)
    assert [(one.target, one.cause) for one in decision.deliveries] == [
        (PACS, "rule:r1/1"),
        (ARCHIVE, "rule:r2/1"),
    ]
    assert decision.remarks == ((PACS, "an earlier rule sends it there"),)
    assert decision.routed.fired == ("r1", "r2")


def test_a_final_rule_ends_the_evaluation_if_it_acts() -> None:
    second = changed(id="r2", name="second", action=RuleAction(targets=(ARCHIVE,)))
    assert [one.target for one in judged(changed(final=True), second).deliveries] == [PACS]
    skipped = changed(final=True, condition=RuleCondition(calling_ae="CT"))
    assert [one.target for one in judged(skipped, second).deliveries] == [ARCHIVE]


def test_a_rule_that_is_off_does_nothing() -> None:
    assert reasons(judged(changed(enabled=False))) == ["the rule is off"]


def test_what_came_before_the_rule_was_made_is_history_but_not_for_a_dry_run() -> None:
    late = changed(created=NOW + 1, changed=NOW + 1)
    assert reasons(judged(late, now=NOW + 5)) == ["it came before the rule was made"]
    edited = changed(changed=NOW + 1)
    assert reasons(judged(edited, now=NOW + 5)) == [""]
    assert reasons(judged(late, now=NOW + 5, as_if_new=True)) == [""]


def test_a_rule_that_waits_for_the_study_is_asked_again_and_the_others_act_once() -> None:
    waits = changed(
        id="r2", name="complete", when_complete=True, action=RuleAction(targets=(ARCHIVE,))
    )
    first = judged(RULE, waits)
    assert [one.target for one in first.deliveries] == [PACS]
    assert (first.routed.again_at, first.routed.fired) == (NOW + waits.quiet, ("r1",))
    second = judged(RULE, waits, of=routing(fired=first.routed.fired), now=NOW + waits.quiet)
    assert [one.target for one in second.deliveries] == [ARCHIVE]
    assert reasons(second) == ["it has acted already", ""]
    assert (second.routed.again_at, second.routed.fired) == (None, ("r1", "r2"))
    assert [one.target for one in judged(waits, as_if_new=True).deliveries] == [ARCHIVE]


def test_a_final_rule_that_acted_before_still_ends_the_evaluation() -> None:
    waits = changed(
        id="r0", name="complete", when_complete=True, action=RuleAction(targets=(ARCHIVE,))
    )
    final = changed(final=True)
    third = changed(id="r3", name="third", action=RuleAction(targets=(ELSEWHERE,)))
    first = judged(waits, final, third)
    assert [one.target for one in first.deliveries] == [PACS]
    second = judged(waits, final, third, of=routing(fired=first.routed.fired), now=NOW + 60)
    assert [one.target for one in second.deliveries] == [ARCHIVE]


@pytest.mark.parametrize(
    ("open_", "now", "at"),
    [
        (False, NOW, NOW + 30),
        (False, NOW + 31, NOW + 30),
        (True, NOW, NOW + 30),
        (True, NOW + 31, NOW + 31 + LOOK_EVERY),
        (True, NOW + LOST_REPORT - 1, NOW + LOST_REPORT),
        (True, NOW + LOST_REPORT, NOW + LOST_REPORT),
    ],
)
def test_a_study_is_complete_when_its_association_has_ended_and_it_is_quiet(
    open_: bool, now: float, at: float
) -> None:
    assert complete_at(changed(when_complete=True, quiet=30.0), routing(open_=open_), now) == at


def devices(*made: tuple[str, str, str]) -> dict[tuple[str, str], Device]:
    return {
        ("ward", name): Device(name=name, ae_title=title, addresses=(address,))
        for name, title, address in made
    }


@pytest.mark.parametrize(
    ("target", "host", "known", "more", "sent"),
    [
        (PACS, "192.0.2.7", (), {}, True),
        (PACS, "192.0.2.7", (), {"calling_ae": "PACS "}, False),
        (
            ELSEWHERE,
            "192.0.2.7",
            (),
            {"calling_ae": "PACS"},
            True,
        ),  # another site may use the title again
        (
            PACS,
            "192.0.2.7",
            (("p", "PACS", "192.0.2.9"),),
            {"device": "p", "calling_ae": "ODD"},
            False,
        ),
        (
            PACS,
            "192.0.2.7",
            (("p", "PACS_SCU", "192.0.2.7"),),
            {"device": "p", "calling_ae": "PACS_SCU"},
            False,
        ),
        (
            PACS,
            "192.0.2.7",
            (("p", "GATE", "192.0.2.0/24"),),
            {"device": "p", "calling_ae": "GATE"},
            True,
        ),
        (
            PACS,
            "192.0.2.7",
            (("p", "GATE", "192.0.2.7"), ("q", "OTHER", "192.0.2.0/28")),
            {"device": "p", "calling_ae": "GATE"},
            True,
        ),
        (
            PACS,
            "127.0.0.1",
            (("p", "SONO1", "127.0.0.1"),),
            {"device": "p", "peer": "127.0.0.1"},
            True,
        ),
        (PACS, "192.0.2.20", (), {}, True),  # nobody knows what else stands at that address
        (PACS, "192.0.2.7", (), {"link": None, "listener": "", "calling_ae": "PACS"}, True),
    ],
)
def test_nothing_is_sent_to_where_it_came_from(
    target: Target,
    host: str,
    known: tuple[tuple[str, str, str], ...],
    more: dict[str, Any],
    sent: bool,
) -> None:
    sites = Sites(
        {PACS: destination(host=host), ELSEWHERE: destination(host=host)}, devices(*known)
    )
    rule = changed(action=RuleAction(targets=(target,)), acquisitions_only=False)
    decision = judged(rule, of=routing(**more), sites=sites)
    assert bool(decision.deliveries) is sent
    assert decision.remarks == (() if sent else ((target, "it came from there"),))


def test_a_destination_that_is_not_configured_gets_a_delivery_that_will_end_visibly() -> None:
    decision = judged(RULE, sites=Sites({}, {}))
    assert [one.target for one in decision.deliveries] == [PACS]
    assert decision.remarks == ((PACS, "this destination is not in the Link's configuration"),)


@pytest.mark.parametrize(
    ("pattern", "text", "same"),
    [
        ("", "", True),
        ("*", "", True),
        ("?", "", False),
        ("a?c", "ABC", True),
        ("a*c", "a--c", True),
        ("a*c", "a--cd", False),
        ("*a*b*", "xxaxxbxx", True),
        ("a", " a ", True),
        ("a.c", "abc", False),
        ("*" * 40 + "b", "a" * 200, False),
        ("a*" * 40 + "b", "a" * 200, False),
    ],
)
def test_wildcards(pattern: str, text: str, same: bool) -> None:
    assert matches(pattern, text) is same


@pytest.mark.parametrize(
    ("name", "digits"),
    [
        ("0008,103E", "0008103E"),
        ("(0008,103e)", "0008103E"),
        ("0008103e", "0008103E"),
        ("Rows", "00280010"),
        ("Nope", ""),
        ("", ""),
    ],
)
def test_tags_are_named_by_number_or_keyword(name: str, digits: str) -> None:
    assert tag_of(name, lambda keyword: KEYWORDS.get(keyword, "")) == digits


def filing(name: str, archive: str, *conditions: str, **more: Any) -> Rule:
    condition, action = RuleCondition(archives=conditions), RuleAction(archive=archive)
    return msgspec.structs.replace(
        RULE, id=name, name=name, condition=condition, action=action, **more
    )


def test_a_rule_files_a_study_and_the_rules_that_follow_see_it_there() -> None:
    sends = msgspec.structs.replace(
        RULE, id="sends", condition=RuleCondition(archives=("hearts", "others"))
    )
    rules = [
        sends,
        filing("files", "hearts"),
        filing("again", "lungs"),
        msgspec.structs.replace(sends, id="late"),
    ]
    decision = judged(*rules)
    assert decision.routed.archive == "hearts"
    assert reasons(decision) == ["its study is in none of the rule's archives", "", "", ""]
    assert [one.cause for one in decision.deliveries] == ["rule:late/1"]


def test_a_study_that_is_in_an_archive_stays_there() -> None:
    filed = msgspec.structs.replace(routing(), archive="lungs")
    rules = [filing("files", "hearts"), filing("sorts", "hearts", "hearts")]
    decision = judged(*rules, of=filed)
    assert decision.routed.archive == ""
    assert [bool(reason) for reason in reasons(decision)] == [False, True]
