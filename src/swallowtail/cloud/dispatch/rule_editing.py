"""Actions of people on rules: list, create, change, remove, and a dry run on a stored study."""

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from swallowtail.calls.document import Problem
from swallowtail.cloud.dispatch.rule_matching import Decision, decide, tag_of
from swallowtail.cloud.dispatch.sites import ConfigurationCache, Sites
from swallowtail.cloud.dispatch.tags import Tags, tags_for
from swallowtail.cloud.model.audit import AuditEvent
from swallowtail.cloud.model.delivery import Rule
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.imaging import Instance
from swallowtail.cloud.model.paging import FIRST_PAGE, Page, PageRequest
from swallowtail.cloud.model.port_errors import CloudError, NotFoundError
from swallowtail.cloud.model.ports.archives import Archives
from swallowtail.cloud.model.ports.deliveries import Rules
from swallowtail.cloud.model.tenancy import Tenant
from swallowtail.dicom import uids

MAX_RULES: Final = 1000
"""Rules of a tenant: each is evaluated on every instance."""
MAX_ENTRIES: Final = 64
"""Of one list in a rule."""
MAX_TEXT: Final = 128
MAX_QUIET: Final = 86_400.0
MAX_NUMBER: Final = 1_000_000


class InvalidRuleError(CloudError):
    """The rule is refused; `problems` contains where and why."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(f"{problem.field}: {problem.message}" for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Explained:
    """The decision of the rules on one stored instance, and its reasons."""

    instance: Instance
    decision: Decision


class Rulebook:
    """A tenant's rules."""

    def __init__(
        self, rules: Rules, sites: ConfigurationCache, archives: Archives, *, clock: Clock
    ) -> None:
        self._rules, self._sites, self._archives, self._clock = rules, sites, archives, clock

    async def rules(self, tenant: Tenant) -> tuple[Rule, ...]:
        """Return all, in the order in which they are evaluated."""
        return await self._rules.rules(tenant)

    async def rule(self, tenant: Tenant, rule: str) -> Rule:
        """Return one by its id."""
        for one in await self._rules.rules(tenant):
            if one.id == rule:
                return one
        raise NotFoundError("there is no such rule")

    async def put(self, tenant: Tenant, rule: Rule, *, event: AuditEvent) -> Rule:
        """Create a rule, or change the one of this id; return it as stored.

        `created` and `changed` are set here: a rule applies to what comes after its creation,
        however often it is changed. Raises InvalidRuleError, and ConflictError when another rule
        has its name.
        """
        now, known = self._clock(), await self._rules.rules(tenant)
        before = next((one for one in known if one.id == rule.id), None)
        rule = msgspec.structs.replace(
            rule, created=now if before is None else before.created, changed=now
        )
        sites = await self._sites.sites(
            tenant, [target.link for target in rule.action.targets[:MAX_ENTRIES]]
        )
        named = [*rule.condition.archives[:MAX_ENTRIES], rule.action.archive]
        known_archives = await self._archives.known(tenant, [one for one in named if one])
        found = [
            *problems(rule, sites, await tags_for([rule])),
            *_missing_archives(rule, known_archives),
        ]
        if before is None and len(known) >= MAX_RULES:
            found.append(
                Problem(field="$", message=f"there are {MAX_RULES} rules already; remove some")
            )
        if found:
            raise InvalidRuleError(tuple(found))
        await self._rules.put(tenant, rule, now=now, event=event)
        return rule

    async def order(
        self, tenant: Tenant, rules: Sequence[str], *, event: AuditEvent
    ) -> tuple[Rule, ...]:
        """Evaluate the rules in this order of ids from now on.

        ConflictError when these are not all of them, each once.
        """
        await self._rules.order(tenant, rules, now=self._clock(), event=event)
        return await self._rules.rules(tenant)

    async def remove(self, tenant: Tenant, rule: str, *, event: AuditEvent) -> None:
        """Remove a rule; what it has queued stays."""
        await self._rules.remove(tenant, rule, now=self._clock(), event=event)

    async def dry_run(
        self,
        tenant: Tenant,
        study: str,
        page: PageRequest = FIRST_PAGE,
        *,
        proposed: Sequence[Rule] | None = None,
        facilities: frozenset[str] | None = None,
    ) -> Page[Explained]:
        """Return what the rules would do with each instance of a stored study if it came now.

        Nothing is queued.

        `proposed`: evaluate these instead of the tenant's. What is outside `facilities` is
        omitted. NotFoundError: there is no such study, or nothing of it is indexed.
        """
        stored = await self._rules.stored(tenant, study, page)
        seen = [
            one
            for one in stored.items
            if facilities is None or one.instance.origin.facility in facilities
        ]
        if not seen and page.cursor is None and stored.next is None:
            raise NotFoundError("there is no such study")
        rules = (
            await self._rules.rules(tenant)
            if proposed is None
            else tuple(sorted(proposed, key=_order))
        )
        sites = await self._sites.sites(
            tenant, [target.link for rule in rules for target in rule.action.targets]
        )
        tags, now = await tags_for(rules), self._clock()
        explained = [
            Explained(one.instance, decide(one, rules, sites, tags, now=now, as_if_new=True))
            for one in seen
        ]
        return Page(tuple(explained), stored.next)


def _order(rule: Rule) -> tuple[int, str]:
    return rule.position, rule.name


def problems(rule: Rule, sites: Sites, tags: Tags) -> Iterator[Problem]:
    """Return what would make a rule match nothing, or something else than intended."""
    yield from _bounds(rule)
    condition = rule.condition
    if condition.address and not _is_network(condition.address):
        yield Problem(
            field="$.condition.address",
            message=f"{condition.address!r} is no network; one is 10.1.0.0/16",
        )
    for index, (name, _) in enumerate(condition.tags):
        if not tag_of(name, tags):
            text = f"{name!r} is neither a keyword of the data dictionary nor a tag like 0008,1030"
            yield Problem(field=f"$.condition.tags[{index}]", message=text)
    for index, uid in enumerate(condition.sop_classes):
        if not uids.is_valid(uid):
            yield Problem(
                field=f"$.condition.sop_classes[{index}]", message=f"{uid!r} is not a UID"
            )
    for index, target in enumerate(rule.action.targets):
        if target not in sites.destinations and target.link not in sites.unreadable:
            text = (
                f"there is no destination {target.destination!r} in the configuration of Link"
                f" {target.link!r}; add it first"
            )
            yield Problem(field=f"$.action.targets[{index}]", message=text)


def _missing_archives(rule: Rule, known: frozenset[str]) -> Iterator[Problem]:
    conditions = rule.condition.archives[:MAX_ENTRIES]
    named = {f"condition.archives[{index}]": one for index, one in enumerate(conditions)}
    if rule.action.archive:
        named["action.archive"] = rule.action.archive
    for field, archive in named.items():
        if archive not in known:
            yield Problem(
                field=f"$.{field}", message=f"there is no archive {archive!r}; create it first"
            )


def _bounds(rule: Rule) -> Iterator[Problem]:
    condition = rule.condition
    texts = {
        name: getattr(condition, name)
        for name in ("calling_ae", "called_ae", "device", "link", "address")
    }
    texts |= {
        f"tags[{index}]": f"{name}{pattern}" for index, (name, pattern) in enumerate(condition.tags)
    }
    texts |= {f"modalities[{index}]": text for index, text in enumerate(condition.modalities)}
    for name, text in texts.items():
        if len(text) > MAX_TEXT:
            yield Problem(
                field=f"$.condition.{name}", message=f"is longer than {MAX_TEXT} characters"
            )
    if not 0 < len(rule.name.strip()) <= MAX_TEXT:
        yield Problem(field="$.name", message=f"a name has 1 to {MAX_TEXT} characters")
    if not rule.action.targets and not rule.action.archive:
        text = "a rule delivers somewhere or puts into an archive; name a destination or an archive"
        yield Problem(field="$.action.targets", message=text)
    lists = {
        "condition.sop_classes": condition.sop_classes,
        "condition.modalities": condition.modalities,
    }
    lists["condition.archives"] = condition.archives
    for field, many in (
        lists | {"condition.tags": condition.tags, "action.targets": rule.action.targets}
    ).items():
        if len(many) > MAX_ENTRIES:
            yield Problem(field=f"$.{field}", message=f"has more than {MAX_ENTRIES} entries")
    if not 0 <= rule.quiet <= MAX_QUIET:
        yield Problem(field="$.quiet", message=f"is 0 to {MAX_QUIET:g} seconds")
    for field, number in (("position", rule.position), ("action.priority", rule.action.priority)):
        if abs(number) > MAX_NUMBER:
            yield Problem(
                field=f"$.{field}", message=f"is a number from {-MAX_NUMBER} to {MAX_NUMBER}"
            )


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
