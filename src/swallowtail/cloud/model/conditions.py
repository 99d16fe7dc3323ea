"""The conditions of alarms, as a table: severity, subject, and what raises and clears each.

`docs/alarms.md` is generated from it (`tools/generate_alarms.py`). A condition is raised and
cleared by its periodic check (`alarms/table.py`), or with the change that causes and ends it.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


class Severity(enum.StrEnum):
    """The urgency of an alarm."""

    WARNING = "warning"
    MAJOR = "major"
    CRITICAL = "critical"


class Condition(enum.StrEnum):
    """The condition of an alarm, defined in CONDITIONS."""

    LINK_OFFLINE = "link-offline"
    DESTINATION_FAILING = "destination-failing"
    DEAD_LETTER = "dead-letter"
    LANE_STOPPED = "lane-stopped"
    QUEUE_OLD = "queue-old"
    DISK_LOW = "disk-low"
    STORAGE = "storage"
    CERTIFICATE_EXPIRING = "certificate-expiring"
    UNKNOWN_DEVICE = "unknown-device"
    LINK_KEY = "link-key"
    AUDIT_EXPORT = "audit-export"
    AUDIT_BROKEN = "audit-broken"
    OPERATOR_TOKEN = "operator-token"  # noqa: S105 - the name of a condition
    CONFIGURATION_REFUSED = "configuration-refused"
    INSTANCE_CONFLICT = "instance-conflict"
    INSTANCE_QUARANTINED = "instance-quarantined"


@dataclass(frozen=True, slots=True)
class Definition:
    """The meaning of a condition, in Markdown for the document."""

    severities: tuple[Severity, ...]
    """Those that an alarm of the condition can have."""
    subject: str
    raised: str
    cleared: str
    action: str
    """What a person does about it."""


CONDITIONS: Final[Mapping[Condition, Definition]] = {
    Condition.LINK_OFFLINE: Definition(
        severities=(Severity.MAJOR,),
        subject="the Link's id",
        raised="a bound Link has had no session for 90 s",
        cleared="it has one again, its code is revoked, or it is removed",
        action=(
            "check its host, its network and its log (`runbooks/link.md`); modalities receive"
            " that Link cannot store, and keep what they have"
        ),
    ),
    Condition.DESTINATION_FAILING: Definition(
        severities=(Severity.MAJOR,),
        subject="Link and destination",
        raised=(
            "three failures in a row to connect, to associate, under an instance, or A7xx: its "
            "breaker opens"
        ),
        cleared="the next answer of the destination, or when it is taken out of the configuration",
        action=(
            "the detail states what failed and where; check the destination (`POST"
            " …/destinations/{id}/check`), then resume it to have it tried at once. Nothing is"
            " lost: it is tried for ever, at most 300 s apart"
        ),
    ),
    Condition.DEAD_LETTER: Definition(
        severities=(Severity.MAJOR,),
        subject="Link and destination",
        raised=(
            "at once when a delivery becomes a dead letter (below); another one counts it again,"
            " and it is to be acknowledged again"
        ),
        cleared="no dead letter is left at that destination: each was resent, retried or skipped",
        action=(
            "the detail gives the last one's reason; `GET /api/v1/deliveries?state=dead-letter`"
            " lists them. Correct the cause, then resend them (at the end of their lanes) or retry"
            " them (in their places), or skip them (`runbooks/destination-failing.md`). Their lanes"
            " go on meanwhile"
        ),
    ),
    Condition.LANE_STOPPED: Definition(
        severities=(Severity.MAJOR,),
        subject="Link and destination",
        raised=(
            "at once when a delivery stops its lane, at the same end as a dead letter where the "
            "destination has `at_cap = stop`"
        ),
        cleared="no delivery is stopped at that destination any more",
        action=(
            "what is behind it waits. `GET /api/v1/deliveries?state=stopped` names it; correct the "
            "cause and retry it, or skip or park it"
        ),
    ),
    Condition.QUEUE_OLD: Definition(
        severities=(Severity.WARNING,),
        subject="Link and destination",
        raised=(
            "a delivery waits for an hour, for whatever reason: paused, stopped, failing, the Link "
            "offline, or more comes than the destination takes"
        ),
        cleared="no delivery there waits that long any more",
        action=(
            "the detail names the reason; resume the destination, or retry, park or skip what has "
            "stopped. A destination that is merely slow: more `connections`, or `outstanding`"
        ),
    ),
    Condition.DISK_LOW: Definition(
        severities=(Severity.MAJOR,),
        subject="`disk`",
        raised=(
            "less than a tenth of the data folder's disk is free, or less than 20 GiB on a large"
            " one; raised in every organisation"
        ),
        cleared="a quarter more than that is free again",
        action=(
            "make space, or give the folder a larger disk, before stores are refused (`storage`)"
        ),
    ),
    Condition.STORAGE: Definition(
        severities=(Severity.CRITICAL,),
        subject="`storage`",
        raised=(
            "a store was refused because disk or database would not take it; modalities receive"
            " A700 and send again"
        ),
        cleared="the next store that succeeds",
        action="free the disk, or look at the database's disk; the Cloud's log states more",
    ),
    Condition.CERTIFICATE_EXPIRING: Definition(
        severities=(
            Severity.WARNING,
            Severity.MAJOR,
            Severity.CRITICAL,
        ),
        subject="`server` or `authority`",
        raised=(
            "the certificate that the Cloud serves ends within 30 days (warning), 14 (major) or 3 "
            "(critical), or has ended; `authority`: the soonest of those that vouch for it in the "
            "same file, the Cloud's own CA or your chain; raised in every organisation"
        ),
        cleared="one that exists longer is served: loaded again every ten minutes",
        action=(
            "renew it (`runbooks/certificate.md`); the Cloud's own is renewed 31 days before by "
            "itself, so its alarm states that this fails"
        ),
    ),
    Condition.UNKNOWN_DEVICE: Definition(
        severities=(Severity.WARNING,),
        subject="Link and address",
        raised=(
            "a system that matches no configured device has asked for an association within the"
            " last day; one alarm for an address, 50 at most"
        ),
        cleared=(
            "a device is configured that covers it, it is dismissed, or it has not connected for a "
            "day"
        ),
        action=(
            "`GET /api/v1/unknown-devices` shows what it stated, with the entry that would let it"
            " in; add or correct the device, or find out who it is"
        ),
    ),
    Condition.LINK_KEY: Definition(
        severities=(Severity.CRITICAL,),
        subject="the Link's id",
        raised="the code of a bound Link was presented with another device key",
        cleared="the code is rotated, rebound or revoked, or the Link is removed",
        action="rebind if the machine was replaced; otherwise rotate the code, it has leaked",
    ),
    Condition.AUDIT_EXPORT: Definition(
        severities=(Severity.MAJOR,),
        subject="`receiver`",
        raised="the receiver of the audit has not taken records three times in a row",
        cleared="it takes them, or the export is removed",
        action=(
            "the detail states what failed; nothing is lost, the export goes on from the same"
            " record (`runbooks/audit-export.md`)"
        ),
    ),
    Condition.AUDIT_BROKEN: Definition(
        severities=(Severity.CRITICAL,),
        subject="`chain`, `operator` or `heads`",
        raised=(
            "records of an audit chain that an exported head covers are no longer there as they"
            " were; `operator`: of the operator's chain, raised in every organisation; `heads`"
            " (every organisation): the file of exported heads was altered or cannot be written"
        ),
        cleared="the chain holds again, or a new file of heads is begun",
        action="keep the data folder as it is and follow `runbooks/audit.md`",
    ),
    Condition.OPERATOR_TOKEN: Definition(
        severities=(Severity.WARNING,),
        subject="the token's id",
        raised=(
            "an operator, who may see no patient data, has made, changed or rotated a token of this"
            " organisation, and has seen its secret if it made or rotated it; with `apply` too. To"
            " be acknowledged again after each of these"
        ),
        cleared=(
            "somebody of the organisation revokes the token, or rotates it without grace, but not "
            "with a token for which this alarm is raised"
        ),
        action=(
            "acknowledge it if you asked for it; make tokens of your own with it and revoke it; the"
            " audit names what was done with each (ADR 0006)"
        ),
    ),
    Condition.CONFIGURATION_REFUSED: Definition(
        severities=(Severity.MAJOR,),
        subject="the Link's id",
        raised="the Link refused the desired configuration as a whole, and runs the old one",
        cleared="it applies a configuration",
        action="the detail names field and reason; correct the document, or roll back",
    ),
    Condition.INSTANCE_CONFLICT: Definition(
        severities=(Severity.MAJOR,),
        subject="SOP Instance UID",
        raised="a UID came again with other bytes; both are kept, the first stays visible",
        cleared="a person chooses the copy to be visible, or only one content is left",
        action="compare the two, and choose the one to be visible (`PUT …/instances/{id}/visible`)",
    ),
    Condition.INSTANCE_QUARANTINED: Definition(
        severities=(Severity.MAJOR,),
        subject="SOP Instance UID",
        raised="a stored data set is malformed, or unlike its command set",
        cleared=(
            "no copy under that UID is left that is not indexed: it was indexed again, or deleted"
        ),
        action=(
            "`GET /api/v1/unindexed-instances` lists it: download it to examine it, index it again,"
            " or delete it and have the sender send it again (`runbooks/quarantined.md`)"
        ),
    ),
}
