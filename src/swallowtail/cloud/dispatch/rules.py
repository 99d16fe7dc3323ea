"""Which rules act on an instance, and why the others do not. Pure."""

import ipaddress
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from swallowtail.calls.config import Destination, Device
from swallowtail.cloud.model.delivery import NewDelivery, Routed, Routing, Rule, RuleCondition, Target
from swallowtail.cloud.model.imaging import Instance

LOOK_EVERY: Final = 5.0
"""Seconds between two looks at a study whose association is still open."""
LOST_REPORT: Final = 360.0
"""Quiet seconds after which an association counts as ended though nobody has said so: a listener ends an idle one after 300 s."""
MAX_DOCUMENT: Final = 16 * 1024 * 1024
MODALITY: Final = "00080060"
_TAG: Final = re.compile(r"([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})")
Tags = Callable[[str], str]
"""Gives the eight hexadecimal digits of a keyword, or '' for an unknown one (PS3.6)."""
Verdict = tuple[Rule, str]
"""A rule and why it does not act; '' when it does."""


@dataclass(frozen=True, slots=True)
class Sites:
    """What the configurations of the tenant's Links say: destinations by target, and devices by (Link, name)."""

    destinations: Mapping[Target, Destination]
    devices: Mapping[tuple[str, str], Device]


@dataclass(frozen=True, slots=True)
class Decision:
    """What the rules want of one instance: deliveries now, and whether it is to be looked at again."""

    routed: Routed
    deliveries: tuple[NewDelivery, ...]
    verdicts: tuple[Verdict, ...]
    withheld: tuple[tuple[Target, str], ...]
    """Targets of rules that act which get nothing, and why."""


def decide(routing: Routing, rules: Sequence[Rule], sites: Sites, tags: Tags, *, now: float) -> Decision:
    """Judge one instance by a tenant's rules, in their order; a target gets it once, by the first rule that names it."""
    reader = _Reader(routing, tags)
    verdicts: list[Verdict] = []
    withheld: list[tuple[Target, str]] = []
    wanted: dict[Target, NewDelivery] = {}
    fired = list(routing.fired)
    again: list[float] = []
    for rule in rules:
        reason = reader.objection(rule) or ""
        if not reason and rule.when_complete and (at := complete_at(rule, routing, now)) > now:
            reason = "the study may not be complete yet"
            again.append(at)
        if not reason and rule.id in routing.fired:
            reason = "it has acted already"
        verdicts.append((rule, reason))
        if not reason:
            fired.append(rule.id)
            for target in rule.action.targets:
                objection = "an earlier rule sends it there" if target in wanted else _not_there(routing, target, sites)
                if objection:
                    withheld.append((target, objection))
                else:
                    wanted[target] = _delivery(routing, rule, target, sites)
        if rule.final and (not reason or rule.id in routing.fired):
            break
    routed = Routed(instance=routing.instance.id, again_at=min(again, default=None), fired=tuple(fired))
    return Decision(routed, tuple(wanted.values()), tuple(verdicts), tuple(withheld))


def complete_at(rule: Rule, routing: Routing, now: float) -> float:
    """Give when a study that stays quiet is complete: after `quiet` seconds, or later while an association may go on."""
    quiet = routing.quiet_since + rule.quiet
    if not routing.association_open:
        return quiet
    lost = routing.quiet_since + max(rule.quiet, LOST_REPORT)
    return lost if lost <= now else min(lost, max(now + LOOK_EVERY, quiet))


def _delivery(routing: Routing, rule: Rule, target: Target, sites: Sites) -> NewDelivery:
    lane = routing.patient if sites.destinations[target].connections > 1 else ""
    return NewDelivery(
        target=target, instance=routing.instance.id, lane=lane, priority=rule.action.priority, cause=f"rule:{rule.id}/1"
    )


def _not_there(routing: Routing, target: Target, sites: Sites) -> str:
    """Say why a target gets nothing, or ''."""
    destination = sites.destinations.get(target)
    if destination is None:
        return "this destination is not in the Link's configuration"
    return "it came from there" if came_from(routing.instance, target, destination, sites) else ""


def came_from(instance: Instance, target: Target, destination: Destination, sites: Sites) -> bool:
    """Say whether an instance was sent to us by the very system that `destination` is: through the same Link, by AE or address."""
    origin = instance.origin
    if origin.link != target.link:
        return False
    device = sites.devices.get((target.link, origin.device))
    titles = {origin.calling_ae.strip(), device.ae_title.strip() if device else ""} - {""}
    addresses = {origin.peer, *(device.addresses if device else ())} - {""}
    return destination.ae_title.strip() in titles or destination.host in addresses


class _Reader:
    """One instance as conditions see it; its document is opened when the first condition asks for a tag."""

    def __init__(self, routing: Routing, tags: Tags) -> None:
        self._instance, self._raw, self._tags = routing.instance, routing.document, tags
        self._document: Mapping[str, Any] | None = None

    def objection(self, rule: Rule) -> str | None:
        """Name the first condition that does not hold."""
        if not rule.enabled:
            return "the rule is off"
        if rule.acquisitions_only and (self._instance.origin.link is None or not self._instance.origin.listener):
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
        if condition.modalities and not any(
            matches(one, found) for one in condition.modalities for found in self._values(MODALITY)
        ):
            yield "its modality is not among the rule's"
        for tag, pattern in condition.tags:
            if not any(matches(pattern, found) for found in self._values(tag_of(tag, self._tags)) or [""]):
                yield f"{tag} does not match {pattern!r}"

    def _values(self, tag: str) -> list[str]:
        if self._document is None:
            self._document = _open(self._raw)
        element = self._document.get(tag)
        values = element.get("Value", []) if isinstance(element, Mapping) else []
        return [text for value in values for text in _texts(value)]


def tag_of(name: str, tags: Tags) -> str:
    """Give the eight digits of a tag written as keyword or gggg,eeee; '' when it is neither."""
    if found := _TAG.fullmatch(name.strip().removeprefix("(").removesuffix(")")):
        return (found[1] + found[2]).upper()
    return tags(name)


def matches(pattern: str, text: str) -> bool:
    """Match with `*` and `?`, whole and regardless of case (PS3.4 C.2.2.2.4); takes at most len(pattern) * len(text) steps."""
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
    if isinstance(value, Mapping):  # a person name (PS3.18 F.2.2); an item of a sequence has no text
        return [text for text in value.values() if isinstance(text, str)]
    if isinstance(value, float) and value.is_integer():
        return [str(int(value))]
    return [] if value is None else [str(value)]


def _open(raw: bytes) -> Mapping[str, Any]:
    unpacked = zlib.decompressobj()
    found = msgspec.json.decode(unpacked.decompress(raw, MAX_DOCUMENT))
    return found if isinstance(found, Mapping) else {}


def _within(address: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
