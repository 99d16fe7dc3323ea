"""A hospital as one TOML document: read, checked, and compared with the present state.

Pure; `cli.apply` sends the requests.

    [organisation]      name, title, retention_days
    [[facility]]        name, title, time_zone
    [[link]]            name, facility
    [[link.listener]]   as in a Link's configuration (calls.config.LISTENERS)
    [[link.device]]     as in a Link's configuration (calls.config.Device)
    [[link.destination]]  as in a Link's configuration (calls.config.Destination)
    [[rule]]            see cli.routing
    [[token]]           name, role, facilities, expires

What the document does not name is not changed. A list of a Link is one thing: a document that
declares one entry of it (or writes `destination = []`) owns the whole list, so that entries
that it omits are removed; one that declares none leaves the list alone.
"""

import datetime as dt
import functools
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from swallowtail.calls.config import (
    Configuration,
    Destination,
    Device,
    add_protocols,
    listener_type,
    problems,
)
from swallowtail.calls.document import Document, ListenerSettings, Name, Problem, problem_of
from swallowtail.cli.apply_rules import RuleEntry, changed, out_of_order, rule_problems

MAX_FILE: Final = 4 * 1024 * 1024

Title = Annotated[str, Meta(max_length=200)]


DocumentT = TypeVar("DocumentT", bound=Document)

Part = ListenerSettings | Device | Destination
PARTS: Final = ("listener", "device", "destination")
"""The lists of a Link's configuration, by the name of one entry in the document."""


class OrganisationEntry(Document, frozen=True, kw_only=True):
    """The tenant. Without `retention_days` what is deleted is kept as it is, or for 30 days."""

    name: Name
    title: Title = ""
    retention_days: Annotated[int, Meta(ge=1, le=3650)] | None = None


class FacilityEntry(Document, frozen=True, kw_only=True):
    """A place of the organisation."""

    name: Name
    title: Title = ""
    time_zone: Annotated[str, Meta(min_length=1, max_length=64)]


class LinkEntry(Document, frozen=True, kw_only=True):
    """A Link with everything that it does; the lists that it does not declare are left alone."""

    name: Name
    facility: Name
    listener: tuple[ListenerSettings, ...] | None = None
    device: tuple[Device, ...] | None = None
    destination: tuple[Destination, ...] | None = None

    def declared(self) -> dict[str, tuple[Part, ...]]:
        """Return the lists of the configuration that the document owns, by their names there."""
        lists = {f"{kind}s": getattr(self, kind) for kind in PARTS}
        return {name: entries for name, entries in lists.items() if entries is not None}


class TokenEntry(Document, frozen=True, kw_only=True):
    """An API token, identified by its name.

    What a present token has and this does not name stays.
    """

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    role: Annotated[str, Meta(pattern=r"^(administrator|integrator|clinician|auditor)$(?!\n)")]
    facilities: tuple[Name, ...] | Literal["all"] | None = None
    """Names of the facilities that it is limited to; "all".

    It is not limited, as a new one without this.
    """
    expires: Annotated[dt.datetime, Meta(tz=True)] | bool | None = None
    """When it expires; false: never, as a new one without this."""

    def body(self, facilities: Mapping[str, str]) -> dict[str, Any]:
        """Return what the API is given: what this names; `facilities` are ids by name."""
        body: dict[str, Any] = {"role": self.role}
        if self.facilities is not None:
            limited = self.facilities != "all"
            body["facilities"] = (
                sorted(facilities[one] for one in self.facilities) if limited else None
            )
        if self.expires is not None:
            body["expires"] = None if isinstance(self.expires, bool) else self.expires.timestamp()
        return body


class Hospital(Document, frozen=True, kw_only=True):
    """The whole document."""

    organisation: OrganisationEntry
    facility: tuple[FacilityEntry, ...] = ()
    link: tuple[LinkEntry, ...] = ()
    rule: tuple[RuleEntry, ...] | None = None
    token: tuple[TokenEntry, ...] = ()


@functools.cache
def _document_type(listener: Any) -> type[Hospital]:
    """Return the struct that a file is read as, with the listeners of every protocol."""
    link: Any = _derived(LinkEntry, "listener", tuple[listener, ...] | None, None)
    return _derived(Hospital, "link", tuple[link, ...], ())


def _derived(base: type[DocumentT], field: str, kind: Any, default: Any) -> type[DocumentT]:
    derived = msgspec.defstruct(
        base.__name__, [(field, kind, default)], bases=(base,), frozen=True, kw_only=True
    )
    assert issubclass(derived, base)
    return derived


def _add_protocols(content: Mapping[str, Any]) -> None:
    """Enter the default protocol where a listener or a destination names none."""
    links = content.get("link")
    for link in links if isinstance(links, list) else ():
        for kind in ("listener", "destination"):
            entries = link.get(kind) if isinstance(link, dict) else None
            if isinstance(entries, list):
                add_protocols(entry for entry in entries if isinstance(entry, dict))


class InvalidHospitalError(Exception):
    """The document cannot be applied.

    The message has one line for each problem, with the line in the file.
    """


def read(text: str) -> Hospital:
    """Read and check a document; raises InvalidHospitalError."""
    try:
        content = tomllib.loads(text)
    except (
        ValueError,
        RecursionError,
    ) as error:  # ValueError also for a number of thousands of digits
        raise InvalidHospitalError(f"this is not TOML: {error}") from error
    try:
        _add_protocols(content)
        hospital = msgspec.convert(content, _document_type(listener_type()))
    except msgspec.ValidationError as error:
        problem = problem_of(str(error))
        raise InvalidHospitalError(_located(text, problem.field, problem.message)) from error
    if found := [_located(text, path, message) for path, message in _problems(hospital)]:
        raise InvalidHospitalError("\n".join(found))
    return hospital


def _problems(hospital: Hospital) -> Iterator[tuple[str, str]]:
    facilities = {entry.name for entry in hospital.facility}
    rules = hospital.rule or ()
    names = {
        "facility": [entry.name for entry in hospital.facility],
        "link": [entry.name for entry in hospital.link],
        "rule": [entry.name for entry in rules],
        "token": [entry.name for entry in hospital.token],
    }
    for kind, given in names.items():
        for name, count in Counter(given).items():
            if count > 1:
                yield f"$.{kind}", f"{name!r} is used {count} times; names are unique"
    for index, link in enumerate(hospital.link):
        if link.facility not in facilities:
            yield (
                f"$.link[{index}].facility",
                f"there is no facility {link.facility!r} in this file",
            )
        for problem in _link_problems(link):
            inside = re.sub(rf"^\$\.({'|'.join(PARTS)})s", r"\1", problem.field)
            yield f"$.link[{index}].{inside}", problem.message
    declared = {
        link.name: link.destination for link in hospital.link if link.destination is not None
    }
    yield from rule_problems(
        rules, {name: frozenset(one.name for one in many) for name, many in declared.items()}
    )
    for index, token in enumerate(hospital.token):
        for name in token.facilities if isinstance(token.facilities, tuple) else ():
            if name not in facilities:
                yield f"$.token[{index}].facilities", f"there is no facility {name!r} in this file"
        if token.expires is True:
            yield f"$.token[{index}].expires", "is a date-time with an offset, or false for never"


def _link_problems(link: LinkEntry) -> Iterator[Problem]:
    """Return the problems in the lists of a Link.

    References to a list that is not declared are checked by the Cloud.
    """
    devices = link.device or ()
    if link.listener is None:
        devices = tuple(msgspec.structs.replace(device, listeners=()) for device in devices)
    yield from problems(
        Configuration(
            listeners=link.listener or (), devices=devices, destinations=link.destination or ()
        )
    )


def _located(text: str, path: str, message: str) -> str:
    """Return a problem with its place.

    Tomllib keeps no lines, so the path is looked up in the text.
    """
    unknown = re.search(r"unknown field `(.*)`", message)
    where = f"{path}.{unknown[1]}" if unknown else path
    return f"line {line_of(text, where)}: {where.removeprefix('$.')}: {message}"


_HEADER: Final = re.compile(r"^\s*(\[\[?)\s*([A-Za-z0-9_.\- ]+?)\s*\]")
_KEY: Final = re.compile(r"^\s*([A-Za-z0-9_\-\"']+)\s*[=.]")


def line_of(text: str, path: str) -> int:
    """Return the line of a path like `$.link[0].listener[1].port`, or of its closest parent."""
    lines = {"$": 1}
    counts: Counter[str] = Counter()
    current = "$"
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            current = _table(
                header[2].replace(" ", "").split("."), counts, is_list=header[1] == "[["
            )
            lines.setdefault(current, number)
        elif key := _KEY.match(line):
            lines.setdefault(f"{current}.{key[1].strip(chr(34) + chr(39))}", number)
    while path not in lines and f"{path}[0]" not in lines:
        shorter = re.sub(r"(\.[^.\[]*|\[[^\]]*\])$", "", path)
        path = shorter if shorter != path else "$"  # a key may hold brackets
    return lines.get(path) or lines[f"{path}[0]"]


def _table(names: list[str], counts: Counter[str], *, is_list: bool) -> str:
    """Return the path of a table header.

    Parts that are lists mean their last element (TOML 1.0, arrays of tables).
    """
    path = "$"
    for name in names[:-1]:
        path += f".{name}"
        path += f"[{counts[path] - 1}]" if counts[path] else ""
    path += f".{names[-1]}"
    if not is_list:
        return path
    counts[path] += 1
    return f"{path}[{counts[path] - 1}]"


@dataclass(frozen=True, slots=True)
class Present:
    """The present state, as the API returns it.

    Facilities, Links and tokens by name, each Link's configuration, rules in their order.
    """

    organisation: Mapping[str, Any] | None = None
    facilities: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    links: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    configurations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rules: Sequence[Mapping[str, Any]] = ()
    tokens: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a plan: `create`, `change`, `remove` or `keep`, and of what.

    An `organisation`, a `link`, its `configuration` …
    """

    verb: str
    kind: str
    name: str
    detail: str = ""

    def __str__(self) -> str:
        """Return the line of the plan."""
        sign = {"create": "+", "change": "~", "remove": "-", "keep": "="}[self.verb]
        return f"{sign} {self.kind} {self.name}" + (f": {self.detail}" if self.detail else "")


def plan(hospital: Hospital, present: Present) -> list[Step]:
    """Return the steps that lead from the present state to the document.

    They are in order, and include those that keep what exists.
    """
    steps = [_entry_step("organisation", hospital.organisation, present.organisation, ("title",))]
    if hospital.organisation.retention_days is not None:
        steps.append(_retention_step(hospital.organisation, present.organisation))
    steps += [
        _entry_step("facility", entry, present.facilities.get(entry.name), ("title", "time_zone"))
        for entry in hospital.facility
    ]
    if hospital.rule is not None:  # what sends to a destination goes before the destination does
        names = {rule.name for rule in hospital.rule}
        steps += [
            Step("remove", "rule", rule["name"])
            for rule in present.rules
            if rule["name"] not in names
        ]
    for link in hospital.link:
        steps.append(_link_step(link, present))
        if link.declared():
            steps.append(_configuration_step(link, present.configurations.get(link.name)))
    steps.extend(_rule_steps(hospital.rule or (), present))
    steps.extend(_token_step(token, present) for token in hospital.token)
    return steps


def _retention_step(entry: OrganisationEntry, there: Mapping[str, Any] | None) -> Step:
    days = None if there is None else there["retention_days"]
    if days == entry.retention_days:
        return Step("keep", "retention", entry.name)
    return Step("change", "retention", entry.name, f"{entry.retention_days} days")


def _entry_step(
    kind: str,
    entry: OrganisationEntry | FacilityEntry,
    there: Mapping[str, Any] | None,
    keys: tuple[str, ...],
) -> Step:
    if there is None:
        return Step("create", kind, entry.name)
    changed = [key for key in keys if getattr(entry, key) != there[key]]
    return (
        Step("change", kind, entry.name, ", ".join(changed))
        if changed
        else Step("keep", kind, entry.name)
    )


def _link_step(link: LinkEntry, present: Present) -> Step:
    there = present.links.get(link.name)
    if there is None:
        return Step("create", "link", link.name)
    facility = present.facilities.get(link.facility)
    if facility is not None and facility["id"] == there["facility"]:
        return Step("keep", "link", link.name)
    return Step("change", "link", link.name, f"moves to facility {link.facility}")


def merged(link: LinkEntry, there: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the document to put.

    It is the present one, with the lists that the file owns in place of the old ones.
    """
    declared: dict[str, Any] = msgspec.to_builtins(link.declared())
    return {**(there["document"] if there else {}), **declared}


def _configuration_step(link: LinkEntry, there: Mapping[str, Any] | None) -> Step:
    declared = link.declared()
    if there is None:
        return Step(
            "create",
            "configuration",
            link.name,
            ", ".join(f"{len(entries)} {name}" for name, entries in declared.items()),
        )
    parts = []
    models = dict(zip(PARTS, (listener_type(), Device, Destination), strict=True))
    for kind, model in models.items():
        if (wanted := declared.get(f"{kind}s")) is not None:
            old = [msgspec.convert(entry, model) for entry in there["document"].get(f"{kind}s", ())]
            parts.append(_difference(kind, old, wanted))
    changes = ", ".join(part for part in parts if part)
    if not changes:
        return Step("keep", "configuration", link.name)
    return Step(
        "change", "configuration", link.name, f"after version {there['version']}: {changes}"
    )


def _difference(kind: str, old: Iterable[Part], new: Iterable[Part]) -> str:
    before, after = {item.name: item for item in old}, {item.name: item for item in new}
    marks = [f"+{kind} {name}" for name in after if name not in before]
    marks += [f"-{kind} {name}" for name in before if name not in after]
    marks += [f"~{kind} {name}" for name in after if name in before and after[name] != before[name]]
    return ", ".join(marks)


def _rule_steps(rules: Sequence[RuleEntry], present: Present) -> Iterator[Step]:
    there = {rule["name"]: rule for rule in present.rules}
    for rule in rules:
        if rule.name not in there:
            yield Step("create", "rule", rule.name, "to " + ", ".join(rule.to))
        elif changes := changed(rule, there[rule.name], present.links):
            yield Step("change", "rule", rule.name, ", ".join(changes))
        else:
            yield Step("keep", "rule", rule.name)
    if out_of_order(rules, present.rules):
        yield Step("change", "rules", "order", ", ".join(rule.name for rule in rules))


def _token_step(token: TokenEntry, present: Present) -> Step:
    there = present.tokens.get(token.name)
    if there is None:
        return Step("create", "token", token.name, token.role)
    facilities = {name: item["id"] for name, item in present.facilities.items()}
    new = {name: name for name in token.facilities or () if name not in facilities}  # no id yet
    wanted = token.body(facilities | new)
    if changed := [key for key, value in wanted.items() if value != there[key]]:
        parts = [
            f"{there['role']} becomes {token.role}" if key == "role" else key for key in changed
        ]
        return Step("change", "token", token.name, ", ".join(parts))
    return Step("keep", "token", token.name)
