"""Use cases of rules: list, create, change, order, delete, and try on a stored study."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from swallowtail.cloud.dispatch.rule_editing import Explained, Rulebook
from swallowtail.cloud.dispatch.rule_matching import matches
from swallowtail.cloud.model.audit import EventAction, EventId
from swallowtail.cloud.model.caller import Caller
from swallowtail.cloud.model.delivery import Rule, Target
from swallowtail.cloud.model.environment import Clock, Randomness
from swallowtail.cloud.model.identifiers import new_id
from swallowtail.cloud.model.paging import Page, PageRequest, cursor_of, key_of
from swallowtail.cloud.model.ports.operations import Audit
from swallowtail.cloud.model.tenancy import Value


class RuleSearch(Value, frozen=True, kw_only=True):
    """The keys of a search for rules; every given one must match."""

    name: str = ""
    """Regardless of case; `*` and `?` are wildcards."""
    enabled: bool | None = None
    target: Target | None = None

    def includes(self, rule: Rule) -> bool:
        """Return whether a rule matches."""
        return (
            (not self.name or matches(self.name, rule.name))
            and self.enabled in {None, rule.enabled}
            and (self.target is None or self.target in rule.action.targets)
        )


class RuleAdministration:
    """Lists and changes the rules of the caller's organisation."""

    def __init__(
        self, rulebook: Rulebook, audit: Audit, *, clock: Clock, random: Randomness
    ) -> None:
        self._rulebook, self._audit = rulebook, audit
        self._clock, self._random = clock, random

    async def rules(self, caller: Caller, search: RuleSearch, page: PageRequest) -> Page[Rule]:
        """Return the rules that match, in the order in which they are evaluated."""
        known = await self._rulebook.rules(caller.tenant)
        found = [rule for rule in known if search.includes(rule)]
        after = key_of(page.cursor, int, str) if page.cursor is not None else None
        rest = [rule for rule in found if after is None or (rule.position, rule.name) > after]
        shown = tuple(rest[: page.limit])
        more = len(rest) > page.limit
        return Page(shown, cursor_of((shown[-1].position, shown[-1].name)) if more else None)

    async def rule(self, caller: Caller, rule: str) -> Rule:
        """Return one rule."""
        return await self._rulebook.rule(caller.tenant, rule)

    async def create(self, caller: Caller, rule: Rule, *, last: bool) -> Rule:
        """Create a rule, whose id is set here; `last`: after all others.

        Raises InvalidRuleError, and ConflictError when the name is taken.
        """
        created = msgspec.structs.replace(rule, id=new_id(self._random))
        if last:
            known = await self._rulebook.rules(caller.tenant)
            position = max((one.position for one in known), default=0) + 1
            created = msgspec.structs.replace(created, position=position)
        return await self._put(caller, created, EventAction.CREATE, "rule.create")

    async def change(self, caller: Caller, rule: str, values: Mapping[str, Any]) -> Rule:
        """Change fields of a rule; raises InvalidRuleError and ConflictError."""
        old = await self._rulebook.rule(caller.tenant, rule)
        changed = msgspec.structs.replace(old, **values)
        return await self._put(caller, changed, EventAction.UPDATE, "rule.change")

    async def delete(self, caller: Caller, rule: str) -> None:
        """Delete a rule; deliveries that it has queued are kept."""
        activity = EventId.APPLICATION_ACTIVITY
        event = caller.event(EventAction.DELETE, "rule.remove", ("rule", rule), event=activity)
        await self._rulebook.remove(caller.tenant, rule, event=event)

    async def order(self, caller: Caller, rules: Sequence[str]) -> tuple[Rule, ...]:
        """Evaluate the rules in this order of ids from now on.

        Raises ConflictError when these are not all of them, each once.
        """
        activity = EventId.APPLICATION_ACTIVITY
        event = caller.event(EventAction.UPDATE, "rules.order", event=activity)
        return await self._rulebook.order(caller.tenant, rules, event=event)

    async def dry_run(
        self, caller: Caller, study: str, page: PageRequest, *, proposed: Sequence[Rule] | None
    ) -> Page[Explained]:
        """Return what the rules, or `proposed` ones, would do with a stored study."""
        event = caller.event(
            EventAction.EXECUTE, "rules.dry-run", ("study", study), event=EventId.QUERY
        )
        await self._audit.append(caller.tenant, [event], now=self._clock())
        facilities = caller.principal.facilities
        return await self._rulebook.dry_run(
            caller.tenant, study, page, proposed=proposed, facilities=facilities
        )

    async def _put(self, caller: Caller, rule: Rule, action: EventAction, kind: str) -> Rule:
        activity = EventId.APPLICATION_ACTIVITY
        event = caller.event(action, kind, ("rule", rule.id), event=activity)
        return await self._rulebook.put(caller.tenant, rule, event=event)
