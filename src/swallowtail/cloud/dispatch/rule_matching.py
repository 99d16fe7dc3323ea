"""The evaluation of rules on an instance. Pure."""

import ipaddress
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from swallowtail.calls.config import Destination, Device
from swallowtail.cloud.dispatch.sites import Sites
from swallowtail.cloud.dispatch.tags import Tags, digits_of
from swallowtail.cloud.model.delivery import (
    INSTANCE,
    NewDelivery,
    Routed,
    Routing,
    Rule,
    RuleCondition,
    Target,
)
from swallowtail.cloud.model.imaging import Instance, Way
from swallowtail.dicom.ae_titles import significant

LOOK_EVERY: Final = 5.0
"""Seconds between evaluations of a study whose association is still open."""
LOST_REPORT: Final = 360.0
"""Quiet seconds after which an association counts as ended without a report.

A listener ends an idle one after 300 s.
"""
MAX_DOCUMENT: Final = 16 * 1024 * 1024
MODALITY: Final = "00080060"
Verdict = tuple[Rule, str]
"""A rule and the reason why it does not match; '' when it does."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision of the rules on one instance: deliveries, and a time of reevaluation."""

    routed: Routed
    deliveries: tuple[NewDelivery, ...]
    verdicts: tuple[Verdict, ...]
    remarks: tuple[tuple[Target, str], ...]
    """Of destinations of rules that act.

    Why one gets nothing of this rule, or why what is queued for it will not arrive.
    """


def decide(
    routing: Routing,
    rules: Sequence[Rule],
    sites: Sites,
    tags: Tags,
    *,
    now: float,
    as_if_new: bool = False,
) -> Decision:
    """Evaluate a tenant's rules on one instance, in their order.

    A destination receives it once, by the first rule that names it. A rule applies to what came
    since its creation: neither a new rule nor a late start sends history. `as_if_new` evaluates as
    if the instance came now and its study were complete, for a dry run.
    """
    reader = _Reader(routing, tags)
    verdicts: list[Verdict] = []
    targets = _Targets(routing, sites)
    fired = list(routing.fired)
    again: list[float] = []
    for rule in rules:
        reason = reader.objection(rule) or (
            "" if as_if_new else _too_early(routing, rule, now, again)
        )
        verdicts.append((rule, reason))
        if not reason:
            fired.append(rule.id)
            targets.add(rule)
            reader.archive = (
                reader.archive or rule.action.archive
            )  # the rules that follow see it there
        if rule.final and (not reason or rule.id in routing.fired):
            break
    filed = "" if routing.archive else reader.archive
    again_at = min(again, default=None)
    routed = Routed(
        instance=routing.instance.id, again_at=again_at, fired=tuple(fired), archive=filed
    )
    return Decision(routed, tuple(targets.wanted.values()), tuple(verdicts), tuple(targets.remarks))


def _too_early(routing: Routing, rule: Rule, now: float, again: list[float]) -> str:
    """Return why a rule whose conditions hold does not apply now, or ''.

    The time of the next evaluation is added to `again`.
    """
    if routing.instance.received < rule.created:
        return "it came before the rule was made"
    if rule.id in routing.fired:
        return "it has acted already"
    if rule.when_complete and (at := complete_at(rule, routing, now)) > now:
        again.append(at)
        return "the study may not be complete yet"
    return ""


def complete_at(rule: Rule, routing: Routing, now: float) -> float:
    """Return when a study that stays quiet is complete.

    After `quiet` seconds, or later while an association may go on.
    """
    quiet = routing.quiet_since + rule.quiet
    if not routing.association_open:
        return quiet
    lost = routing.quiet_since + max(rule.quiet, LOST_REPORT)
    return lost if lost <= now else min(lost, max(now + LOOK_EVERY, quiet))


class _Targets:
    """The deliveries of the rules that match."""

    def __init__(self, routing: Routing, sites: Sites) -> None:
        self._routing, self._sites = routing, sites
        self.wanted: dict[Target, NewDelivery] = {}
        self.remarks: list[tuple[Target, str]] = []

    def add(self, rule: Rule) -> None:
        """Add the destinations of a rule that acts.

        One that is not configured gets its delivery too, which ends as a dead letter: a destination
        that was removed by mistake is repaired by sending those again, and nothing is missing
        without a trace.
        """
        for target in rule.action.targets:
            destination = self._sites.destinations.get(target)
            if target in self.wanted:
                self.remarks.append((target, "an earlier rule sends it there"))
            elif destination is not None and came_from(
                self._routing.instance, target, destination, self._sites
            ):
                self.remarks.append((target, "it came from there"))
            else:
                self.wanted[target] = self._delivery(rule, target, destination)
                if destination is None:
                    self.remarks.append(
                        (target, "this destination is not in the Link's configuration")
                    )

    def _delivery(self, rule: Rule, target: Target, destination: Destination | None) -> NewDelivery:
        return NewDelivery(
            target=target,
            kind=INSTANCE,
            reference=self._routing.instance.id,
            lane=lane_of(destination, self._routing.patient),
            priority=rule.action.priority,
            cause=f"rule:{rule.id}/1",
        )


def lane_of(destination: Destination | None, patient: str) -> str:
    """Return the lane of a patient's instance.

    The destination's one, or the patient's where it has several connections.
    """
    return patient if destination is not None and destination.connections > 1 else ""


def came_from(instance: Instance, target: Target, destination: Destination, sites: Sites) -> bool:
    """Return whether `destination` is the system that sent an instance, through the same Link.

    It is when the AE titles agree, for they name systems; or when the sender's device is the only
    one configured at the destination's address, for many archives send under another title than
    they listen to. An address alone states nothing: behind a router, or on loopback, many systems
    have the same.
    """
    origin = instance.origin
    if origin.link != target.link:
        return False
    device = sites.devices.get((target.link, origin.device))
    titles = {significant(origin.calling_ae), significant(device.ae_title) if device else ""} - {""}
    return significant(destination.ae_title) in titles or (
        device is not None and _alone_at(destination.host, target.link, device, sites)
    )


def _alone_at(host: str, link: str, device: Device, sites: Sites) -> bool:
    if host not in device.addresses or _is_loopback(host):
        return False
    return not any(
        other.name != device.name and any(_within(host, network) for network in other.addresses)
        for (owner, _), other in sites.devices.items()
        if owner == link
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Reader:
    """One instance as conditions see it.

    Its document is opened when the first condition asks for a tag.
    """

    def __init__(self, routing: Routing, tags: Tags) -> None:
        self._instance, self._raw, self._tags = routing.instance, routing.document, tags
        self._document: Mapping[str, Any] | None = None
        self.archive = routing.archive
        """The archive that its study is in, or is put into by an earlier rule."""

    def objection(self, rule: Rule) -> str | None:
        """Name the first condition that does not hold."""
        if not rule.enabled:
            return "the rule is off"
        if rule.acquisitions_only and self._instance.origin.way is not Way.DEVICE:
            return "it is no acquisition: no device sent it through a Link"
        return next(self._objections(rule.condition), None)

    def _objections(self, condition: RuleCondition) -> Iterator[str]:
        origin = self._instance.origin
        for name in ("calling_ae", "called_ae", "device", "link"):
            pattern = getattr(condition, name)
            if pattern and not matches(pattern, getattr(origin, name) or ""):
                yield f"{name} does not match {pattern!r}"
        if condition.address and not _within(origin.peer, condition.address):
            yield f"the sender's address is not in {condition.address}"
        if condition.sop_classes and self._instance.sop_class not in condition.sop_classes:
            yield "its SOP class is not among the rule's"
        if condition.archives and self.archive not in condition.archives:
            yield "its study is in none of the rule's archives"
        if condition.modalities and not any(
            matches(one, found) for one in condition.modalities for found in self._values(MODALITY)
        ):
            yield "its modality is not among the rule's"
        for tag, pattern in condition.tags:
            if not any(
                matches(pattern, found) for found in self._values(tag_of(tag, self._tags)) or [""]
            ):
                yield f"{tag} does not match {pattern!r}"

    def _values(self, tag: str) -> list[str]:
        if self._document is None:
            self._document = _open(self._raw)
        element = self._document.get(tag)
        values = element.get("Value", []) if isinstance(element, Mapping) else []
        return [text for value in values for text in _texts(value)]


def tag_of(name: str, tags: Tags) -> str:
    """Return the eight digits of a tag written as keyword or gggg,eeee; '' when it is neither."""
    return digits_of(name) or tags(name)


def matches(pattern: str, text: str) -> bool:
    """Match with `*` and `?`, whole and regardless of case (PS3.4 C.2.2.2.4).

    Takes at most len(pattern) * len(text) steps.
    """
    pattern, text = pattern.casefold(), text.strip().casefold()
    at = here = 0
    star, resume = -1, 0
    while here < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, resume, at = at, here, at + 1
        elif at < len(pattern) and pattern[at] in {"?", text[here]}:
            at, here = at + 1, here + 1
        elif star >= 0:  # let the last star take one more
            resume += 1
            at, here = star + 1, resume
        else:
            return False
    return not pattern[at:].strip("*")


def _texts(value: object) -> Iterable[str]:
    if isinstance(
        value, Mapping
    ):  # a person name (PS3.18 F.2.2); an item of a sequence has no text
        return [text for text in value.values() if isinstance(text, str)]
    if isinstance(value, float) and value.is_integer():
        return [str(int(value))]
    return [] if value is None else [str(value)]


def _open(raw: bytes) -> Mapping[str, Any]:
    """Read the indexed document.

    One that is damaged states nothing, and must not hold up what waits behind it.
    """
    try:
        found = msgspec.json.decode(zlib.decompressobj().decompress(raw, MAX_DOCUMENT))
    except (zlib.error, msgspec.DecodeError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _within(address: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
