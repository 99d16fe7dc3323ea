"""Rules: what is sent where without being asked.

In their order, and tried on a stored study before anything is sent.
"""

from typing import Annotated, Any, Final

import msgspec
from fastapi import Depends, Query, Response
from pydantic import Field, StrictBool, StringConstraints

from swallowtail.cloud.dispatch.destination_administration import id_of, target_of
from swallowtail.cloud.dispatch.rule_administration import RuleAdministration, RuleSearch
from swallowtail.cloud.dispatch.rule_editing import (
    MAX_ENTRIES,
    MAX_NUMBER,
    MAX_QUIET,
    MAX_RULES,
    MAX_TEXT,
    Explained,
)
from swallowtail.cloud.model.delivery import Rule, RuleAction, RuleCondition, Target
from swallowtail.cloud.model.paging import Page
from swallowtail.cloud.model.port_errors import NotFoundError
from swallowtail.cloud.web.access import InOrganisation
from swallowtail.cloud.web.api.archives import ArchiveKey
from swallowtail.cloud.web.api.deliveries import DestinationKey
from swallowtail.cloud.web.api.schemas import Body, Out, PageOut, Timestamp, UidText, page_out
from swallowtail.cloud.web.page_parameters import Paging
from swallowtail.cloud.web.problems import invalid
from swallowtail.cloud.web.roles import CONFIGURATION_READERS, CONFIGURATORS, QUEUE_MANAGERS
from swallowtail.cloud.web.route import REFUSED, Route
from swallowtail.cloud.web.use_cases import provided

Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
RuleName = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_TEXT, strip_whitespace=True)
]
Number = Annotated[int, Field(strict=True, ge=-MAX_NUMBER, le=MAX_NUMBER)]
Quiet = Annotated[float, Field(strict=True, ge=0, le=MAX_QUIET, allow_inf_nan=False)]


class TagPattern(Body):
    """A top-level element, by keyword or as gggg,eeee, and what its value must look like."""

    tag: Text
    pattern: Text


class RuleConditionBody(Body):
    """The conditions of a rule; an instance must match every given key.

    `*` and `?` are wildcards; `link` is a Link's id.
    """

    calling_ae: Text = ""
    called_ae: Text = ""
    device: Text = ""
    link: Text = ""
    address: Text = ""
    """A network like 10.1.0.0/16."""
    sop_classes: Annotated[tuple[UidText, ...], Field(max_length=MAX_ENTRIES)] = ()
    modalities: Annotated[tuple[Text, ...], Field(max_length=MAX_ENTRIES)] = ()
    tags: Annotated[tuple[TagPattern, ...], Field(max_length=MAX_ENTRIES)] = ()
    archives: Annotated[tuple[ArchiveKey, ...], Field(max_length=MAX_ENTRIES)] = ()
    """Ids of archives, of which the study is in one."""


class RuleActionBody(Body):
    """Deliver to these destinations, by id; a higher priority goes first.

    Put the study into an archive, by id.

    A study that is in an archive already stays there. At least one of `targets` and `archive` is
    given.
    """

    targets: Annotated[tuple[DestinationKey, ...], Field(max_length=MAX_ENTRIES)] = ()
    priority: Number = 0
    archive: ArchiveKey | None = None


class RuleNew(Body):
    """A rule. Without `position` it becomes the last one.

    `when_complete` waits until the study is: its association has ended and nothing came for `quiet`
    seconds. `acquisitions_only` leaves out what was uploaded or retrieved. `final` ends the
    evaluation when the rule acts.
    """

    name: RuleName
    position: Number | None = None
    enabled: StrictBool = True
    condition: RuleConditionBody = RuleConditionBody()
    action: RuleActionBody
    when_complete: StrictBool = False
    quiet: Quiet = 30.0
    acquisitions_only: StrictBool = True
    final: StrictBool = False


class RuleChange(Body):
    """A change; `condition` and `action` are replaced as a whole."""

    name: RuleName | None = None
    position: Number | None = None
    enabled: StrictBool | None = None
    condition: RuleConditionBody | None = None
    action: RuleActionBody | None = None
    when_complete: StrictBool | None = None
    quiet: Quiet | None = None
    acquisitions_only: StrictBool | None = None
    final: StrictBool | None = None


class TagPatternOut(Out):
    """A top-level element, and what its value must look like."""

    tag: str
    pattern: str


class ConditionOut(Out):
    """The conditions of a rule."""

    calling_ae: str
    called_ae: str
    device: str
    link: str
    address: str
    sop_classes: list[str]
    modalities: list[str]
    tags: list[TagPatternOut]
    archives: list[str]


class ActionOut(Out):
    """The action of a rule: destinations and an archive."""

    targets: list[str]
    priority: int
    archive: str | None


class RuleOut(Out):
    """A rule; it applies to instances that arrive after `created`."""

    id: str
    name: str
    position: int
    enabled: bool
    condition: ConditionOut
    action: ActionOut
    when_complete: bool
    quiet: float
    acquisitions_only: bool
    final: bool
    created: Timestamp
    changed: Timestamp


class RuleOrder(Body):
    """The ids of all rules, each once, in their new order."""

    rules: Annotated[list[str], Field(max_length=MAX_RULES)]


class DryRun(Body):
    """A dry run on a stored study.

    `rules` are tried instead of the organisation's if given, in the order that they are given in.
    """

    study: UidText
    rules: Annotated[list[RuleNew], Field(max_length=MAX_ENTRIES)] | None = None


class VerdictOut(Out):
    """The verdict of a rule on an instance, and why it does not apply.

    `rule` is empty for one that is only tried.
    """

    rule: str
    name: str
    acts: bool
    reason: str


class PlannedOut(Out):
    """A delivery that would be queued."""

    destination: str
    priority: int


class RemarkOut(Out):
    """Why a destination of a rule that acts gets nothing of it, or why it will not arrive."""

    destination: str
    reason: str


class ExplainedOut(Out):
    """The verdicts of the rules on one instance, as if it arrived now.

    After a final rule that acts no verdict follows.
    """

    instance: int
    sop_instance: str
    verdicts: list[VerdictOut]
    deliveries: list[PlannedOut]
    remarks: list[RemarkOut]
    archive: str | None
    """Into which archive its study would be put; null: it stays where it is."""


def _search(
    name: Annotated[
        str,
        Query(
            max_length=MAX_TEXT,
            description="By name, regardless of case; `*` and `?` are wildcards.",
        ),
    ] = "",
    enabled: Annotated[bool | None, Query(description="Whether it is enabled.")] = None,
    destination: Annotated[
        DestinationKey | None, Query(description="Rules that deliver to it, by its id.")
    ] = None,
) -> RuleSearch:
    target = None if destination is None else target_of(destination)
    return RuleSearch(name=name, enabled=enabled, target=target)


Administration = Annotated[RuleAdministration, provided(RuleAdministration)]
Searching = Annotated[RuleSearch, Depends(_search)]


async def list_rules(
    caller: InOrganisation, rules: Administration, page: Paging, search: Searching
) -> PageOut[RuleOut]:
    """List rules.

    Returns the rules that match every given parameter, in the order in which they are evaluated.
    """
    return page_out(await rules.rules(caller, search, page), _out)


async def create_rule(caller: InOrganisation, rules: Administration, body: RuleNew) -> RuleOut:
    """Create a rule.

    The rule applies to instances that arrive from now on, not to stored ones.
    """
    rule = _rule(body, last=0)
    return _out(await rules.create(caller, rule, last=body.position is None))


async def get_rule(caller: InOrganisation, rules: Administration, rule_id: str) -> RuleOut:
    """Get a rule.

    Returns one rule.
    """
    return _out(await rules.rule(caller, rule_id))


async def change_rule(
    caller: InOrganisation, rules: Administration, rule_id: str, body: RuleChange
) -> RuleOut:
    """Update a rule.

    The change applies to instances that arrive from now on.
    """
    values: dict[str, Any] = {
        name: value for name in body.model_fields_set if (value := getattr(body, name)) is not None
    }
    if body.condition is not None:
        values["condition"] = _condition(body.condition)
    if body.action is not None:
        values["action"] = _action(body.action)
    return _out(await rules.change(caller, rule_id, values))


async def remove_rule(caller: InOrganisation, rules: Administration, rule_id: str) -> Response:
    """Delete a rule.

    Deliveries that it has queued are still sent.
    """
    await rules.delete(caller, rule_id)
    return Response(status_code=204)


async def order_rules(
    caller: InOrganisation, rules: Administration, body: RuleOrder
) -> PageOut[RuleOut]:
    """Reorder the rules.

    Returns the rules in their new order; their positions become 1, 2, 3 and so on.
    """
    return page_out(Page(await rules.order(caller, body.rules)), _out)


async def dry_run(
    caller: InOrganisation, rules: Administration, body: DryRun, page: Paging
) -> PageOut[ExplainedOut]:
    """Try the rules on a study.

    Returns for each instance of a stored study which rules would act, why the others would not, and
    what would be sent where. Nothing is queued.
    """
    proposed = None
    if body.rules is not None:
        proposed = [
            _rule(rule, last=index, path=f"$.rules[{index}]")
            for index, rule in enumerate(body.rules)
        ]
    found = await rules.dry_run(caller, body.study, page, proposed=proposed)
    return page_out(found, _explained)


def _rule(body: RuleNew, *, last: int, path: str = "$") -> Rule:
    values = {
        name: getattr(body, name)
        for name in ("name", "enabled", "when_complete", "quiet", "acquisitions_only", "final")
    }
    return Rule(
        id="",
        **values,
        position=last + 1 if body.position is None else body.position,
        condition=_condition(body.condition),
        action=_action(body.action, path),
        created=0.0,
        changed=0.0,
    )


def _condition(body: RuleConditionBody) -> RuleCondition:
    values = {name: getattr(body, name) for name in RuleConditionBody.model_fields}
    return RuleCondition(**values | {"tags": tuple((one.tag, one.pattern) for one in body.tags)})


def _action(body: RuleActionBody, path: str = "$") -> RuleAction:
    targets: list[Target] = []
    for index, destination in enumerate(body.targets):
        try:
            targets.append(target_of(destination))
        except NotFoundError as error:
            raise invalid(f"{path}.action.targets[{index}]", str(error)) from error
    return RuleAction(targets=tuple(targets), priority=body.priority, archive=body.archive or "")


def _out(rule: Rule) -> RuleOut:
    condition = msgspec.structs.asdict(rule.condition)
    condition["tags"] = [{"tag": tag, "pattern": pattern} for tag, pattern in rule.condition.tags]
    action = {
        "targets": [id_of(target) for target in rule.action.targets],
        "priority": rule.action.priority,
    }
    action["archive"] = rule.action.archive or None
    return RuleOut.model_validate(
        msgspec.structs.asdict(rule) | {"condition": condition, "action": action}
    )


def _explained(explained: Explained) -> ExplainedOut:
    decision = explained.decision
    return ExplainedOut(
        instance=explained.instance.id,
        sop_instance=explained.instance.identity.sop_instance,
        verdicts=[
            VerdictOut(rule=rule.id, name=rule.name, acts=not reason, reason=reason)
            for rule, reason in decision.verdicts
        ],
        deliveries=[
            PlannedOut(destination=id_of(one.target), priority=one.priority)
            for one in decision.deliveries
        ],
        remarks=[
            RemarkOut(destination=id_of(target), reason=reason)
            for target, reason in decision.remarks
        ],
        archive=decision.routed.archive or None,
    )


_RULE: Final = "/rules/{rule_id}"

ROUTES: Final = (
    Route(
        "GET",
        "/rules",
        list_rules,
        CONFIGURATION_READERS,
        REFUSED,
        "rules",
        use_case=RuleAdministration.rules,
    ),
    Route(
        "POST",
        "/rules",
        create_rule,
        CONFIGURATORS,
        REFUSED,
        "rules",
        201,
        use_case=RuleAdministration.create,
        audit="rule.create",
    ),
    Route(
        "POST",
        "/rules/dry-run",
        dry_run,
        QUEUE_MANAGERS,
        REFUSED,
        "rules",
        use_case=RuleAdministration.dry_run,
        audit="rules.dry-run",
    ),
    Route(
        "PUT",
        "/rules/order",
        order_rules,
        CONFIGURATORS,
        REFUSED,
        "rules",
        use_case=RuleAdministration.order,
        audit="rules.order",
    ),
    Route(
        "GET",
        _RULE,
        get_rule,
        CONFIGURATION_READERS,
        REFUSED,
        "rules",
        use_case=RuleAdministration.rule,
    ),
    Route(
        "PATCH",
        _RULE,
        change_rule,
        CONFIGURATORS,
        REFUSED,
        "rules",
        use_case=RuleAdministration.change,
        audit="rule.change",
    ),
    Route(
        "DELETE",
        _RULE,
        remove_rule,
        CONFIGURATORS,
        REFUSED,
        "rules",
        204,
        use_case=RuleAdministration.delete,
        audit="rule.remove",
    ),
)
