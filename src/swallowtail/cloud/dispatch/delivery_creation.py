"""Evaluates the rules on what was indexed.

Batch after batch while there are some, then asleep until something happens.

Each rule is evaluated once on each instance. Its deliveries and the note of the evaluation are one
transaction, so a crash repeats the evaluation or does not, and the same request twice is one
delivery.
"""

import asyncio
import contextlib
import math
from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from typing import Final

import structlog

from swallowtail.cloud.dispatch.rule_matching import Decision, decide
from swallowtail.cloud.dispatch.runner import topic
from swallowtail.cloud.dispatch.sites import ConfigurationCache
from swallowtail.cloud.dispatch.tags import tags_for
from swallowtail.cloud.model.delivery import Routed, Routing, Rule
from swallowtail.cloud.model.environment import Clock
from swallowtail.cloud.model.port_errors import StorageUnavailableError
from swallowtail.cloud.model.ports.bus import Bus
from swallowtail.cloud.model.ports.deliveries import Rules
from swallowtail.cloud.model.tenancy import Tenant

TOPIC: Final = "routing"
BATCH: Final = 128
YIELD_EVERY: Final = 8
"""Instances after which the loop is yielded.

With many rules on tags each takes half a millisecond.
"""
IDLE: Final = 15.0
"""A wake-up may be lost, so it looks by itself this often; also the pause after a failure."""
POSTPONED: Final = 300.0
"""Seconds until an instance whose evaluation failed is evaluated again."""

log = structlog.get_logger()


class Router:
    """The creation of deliveries from what is indexed; run one per node."""

    def __init__(self, rules: Rules, sites: ConfigurationCache, bus: Bus, *, clock: Clock) -> None:
        self._rules, self._sites, self._bus, self._clock = rules, sites, bus, clock
        self._later: set[int] = set()
        """Times of further evaluations, in whole seconds.

        Those of an earlier process are found when idle.
        """

    def wake(self) -> None:
        """Wake the evaluation after something was indexed."""
        self._bus.publish(TOPIC)

    async def ended(self, tenant: Tenant, link: str, associations: Collection[bytes]) -> None:
        """Note that associations of a Link have ended, which may complete a study."""
        await self._rules.note_ended(tenant, link, associations, now=self._clock())
        self._bus.publish(TOPIC)

    async def run(self) -> None:
        """Route until cancelled."""
        subscription = self._bus.subscribe(TOPIC)
        try:
            while True:
                if await self._step_safely() < BATCH:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(self._pause()):
                            await subscription.wait()
        finally:
            subscription.close()

    async def step(self) -> int:
        """Evaluate one batch; return the number of instances."""
        now = self._clock()
        self._later = {at for at in self._later if at > now}
        found = await self._rules.unrouted(BATCH, now=now)
        for tenant, mine in groupby(
            sorted(found, key=lambda one: one.tenant), lambda one: one.tenant
        ):
            await self._route(tenant, [*mine], now)
        return len(found)

    async def _step_safely(self) -> int:
        try:
            return await self.step()
        except StorageUnavailableError as error:
            log.warning("rule evaluation deferred", reason=str(error))
        except (
            Exception
        ):  # a fault of ours must not end the routing of everybody until the next start
            log.exception("rule evaluation failed")
        return 0

    def _pause(self) -> float:
        next_look = min(self._later, default=math.inf) - self._clock()
        return max(0.01, min(IDLE, next_look))

    async def _route(self, tenant: Tenant, routings: Sequence[Routing], now: float) -> None:
        rules = await self._rules.rules(tenant)
        decisions = await self._judge(tenant, routings, rules, now)
        routed = [decision.routed for decision in decisions]
        wanted = [delivery for decision in decisions for delivery in decision.deliveries]
        await self._rules.routed(tenant, routed, wanted, now=now)
        self._later |= {math.ceil(one.again_at) for one in routed if one.again_at is not None}
        for link in dict.fromkeys(delivery.target.link for delivery in wanted):
            self._bus.publish(topic(link))

    async def _judge(
        self, tenant: Tenant, routings: Sequence[Routing], rules: Sequence[Rule], now: float
    ) -> Sequence[Decision]:
        sites = await self._sites.sites(tenant, _links_of(rules))
        tags = await tags_for(rules)
        decisions: list[Decision] = []
        for count, routing in enumerate(routings, 1):
            try:
                decisions.append(decide(routing, rules, sites, tags, now=now))
            except Exception:  # one whose evaluation fails must not delay the others
                log.exception("instance evaluation failed")
                postponed = Routed(
                    instance=routing.instance.id, again_at=now + POSTPONED, fired=routing.fired
                )
                decisions.append(Decision(postponed, (), (), ()))
            if count % YIELD_EVERY == 0:
                await asyncio.sleep(0)
        return decisions


def _links_of(rules: Iterable[Rule]) -> list[str]:
    return [target.link for rule in rules for target in rule.action.targets]
