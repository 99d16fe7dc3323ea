"""`swallowtail cloud apply`: applies a document to a Cloud through its REST API.

Applying it again changes nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from swallowtail.cli.api_client import RestClient, RestError
from swallowtail.cli.apply_rules import changed
from swallowtail.cli.hospital import Hospital, LinkEntry, Present, Step, merged, plan


@dataclass(slots=True)
class Outcome:
    """The outcome of a run. `codes` and `tokens` are shown once and not stored."""

    organisation: str = ""
    steps: list[Step] = field(default_factory=list)
    facilities: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    codes: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)


class Application:
    """One run of `apply`."""

    def __init__(self, client: RestClient, hospital: Hospital) -> None:
        self._client = client
        self._hospital = hospital
        self._query: dict[str, str] = {}
        self._outcome = Outcome()
        self._links = {link.name: link for link in hospital.link}
        self._tokens = {token.name: token for token in hospital.token}
        self._rules = {rule.name: rule for rule in hospital.rule or ()}
        self._facilities = {facility.name: facility for facility in hospital.facility}
        self._rule_ids: dict[str, str] = {}
        self._present = Present()

    def plan(self) -> list[Step]:
        """Read the present state and return the steps to take."""
        self._present = self._read_present()
        self._outcome.steps = plan(self._hospital, self._present)
        return self._outcome.steps

    def run(self) -> Outcome:
        """Execute the steps of `plan`.

        Raises RestError at the first step that fails; the steps before it stay done.
        """
        actions: dict[tuple[str, str], Callable[[str], None]] = {
            ("create", "organisation"): self._create_organisation,
            ("change", "organisation"): self._change_organisation,
            ("change", "retention"): self._set_retention,
            ("create", "facility"): self._create_facility,
            ("change", "facility"): self._change_facility,
            ("create", "link"): self._create_link,
            ("change", "link"): self._change_link,
            ("create", "configuration"): self._put_configuration,
            ("change", "configuration"): self._put_configuration,
            ("remove", "rule"): self._remove_rule,
            ("create", "rule"): self._create_rule,
            ("change", "rule"): self._change_rule,
            ("change", "rules"): self._order_rules,
            ("create", "token"): self._create_token,
            ("change", "token"): self._change_token,
        }
        for step in self._outcome.steps:
            if step.verb != "keep":
                actions[step.verb, step.kind](step.name)
        return self._outcome

    def _read_present(self) -> Present:
        organisation = self._find_organisation()
        if organisation is None:
            return Present()
        self._outcome.organisation = organisation["id"]
        facilities = {item["name"]: item for item in self._client.all("/facilities", **self._query)}
        links = {item["name"]: item for item in self._client.all("/links", **self._query)}
        rules = (
            [*self._client.all("/rules", **self._query)] if self._hospital.rule is not None else []
        )
        self._rule_ids = {rule["name"]: rule["id"] for rule in rules}
        tokens: dict[str, Any] = {}
        if self._hospital.token:
            listed = [
                one for one in self._client.all("/tokens", **self._query) if one["revoked"] is None
            ]
            tokens = {one["name"]: one for one in sorted(listed, key=lambda one: one["created"])}
        self._outcome.facilities = {
            name: item["id"] for name, item in facilities.items() if name in self._facilities
        }
        self._outcome.links = {
            name: item["id"] for name, item in links.items() if name in self._links
        }
        configurations = {
            name: found
            for name, id_ in self._outcome.links.items()
            if (found := self._configuration(id_)) is not None
        }
        return Present(organisation, facilities, links, configurations, rules, tokens)

    def _find_organisation(self) -> Any | None:
        wanted = self._hospital.organisation.name
        me = self._client.call("GET", "/whoami")
        if me["organisation"] is not None:
            if me["organisation"]["name"] != wanted:
                raise RestError(
                    f"the token belongs to organisation {me['organisation']['name']!r}, the file is"
                    f" for {wanted!r}; use a token of that organisation, or an operator's"
                )
            return me["organisation"]
        found = next(self._client.all("/organisations", name=wanted), None)
        if found is not None:
            self._query = {"organisation": found["id"]}
        return found

    def _configuration(self, link: str) -> Any | None:
        try:
            return self._client.call("GET", f"/links/{link}/configuration", None, **self._query)
        except RestError as error:
            if error.code == "not-found":
                return None
            raise

    def _create_organisation(self, name: str) -> None:
        entry = self._hospital.organisation
        made = self._client.call("POST", "/organisations", {"name": name, "title": entry.title})
        self._outcome.organisation = made["id"]
        self._query = {"organisation": made["id"]}

    def _change_organisation(self, _: str) -> None:
        if not self._query:
            raise RestError(
                "only an operator's token may change an organisation's title; leave it out, or use"
                " that token"
            )
        body = {"title": self._hospital.organisation.title}
        self._client.call("PATCH", f"/organisations/{self._outcome.organisation}", body)

    def _set_retention(self, _: str) -> None:
        self._client.call(
            "PUT", "/retention", {"days": self._hospital.organisation.retention_days}, **self._query
        )

    def _create_facility(self, name: str) -> None:
        entry = self._facilities[name]
        body = {"name": name, "title": entry.title, "time_zone": entry.time_zone}
        self._outcome.facilities[name] = self._client.call(
            "POST", "/facilities", body, **self._query
        )["id"]

    def _change_facility(self, name: str) -> None:
        entry = self._facilities[name]
        body = {"title": entry.title, "time_zone": entry.time_zone}
        self._client.call(
            "PATCH", f"/facilities/{self._outcome.facilities[name]}", body, **self._query
        )

    def _create_link(self, name: str) -> None:
        made = self._client.call(
            "POST",
            "/links",
            {"name": name, "facility": self._facility_of(self._links[name])},
            **self._query,
        )
        self._outcome.links[name] = made["id"]
        self._outcome.codes[name] = made["code"]

    def _change_link(self, name: str) -> None:
        body = {"facility": self._facility_of(self._links[name])}
        self._client.call("PATCH", f"/links/{self._outcome.links[name]}", body, **self._query)

    def _facility_of(self, link: LinkEntry) -> str:
        return self._outcome.facilities[link.facility]

    def _put_configuration(self, name: str) -> None:
        there = self._present.configurations.get(name)
        body = {
            "document": merged(self._links[name], there),
            "expected": there["version"] if there else 0,
            "comment": "apply",
        }
        self._client.call(
            "PUT", f"/links/{self._outcome.links[name]}/configuration", body, **self._query
        )

    def _remove_rule(self, name: str) -> None:
        self._client.call("DELETE", f"/rules/{self._rule_ids[name]}", None, **self._query)

    def _create_rule(self, name: str) -> None:
        body = self._rules[name].body(self._all_links())
        self._rule_ids[name] = self._client.call("POST", "/rules", body, **self._query)["id"]

    def _change_rule(self, name: str) -> None:
        there = next(rule for rule in self._present.rules if rule["name"] == name)
        body = changed(self._rules[name], there, self._all_links())
        self._client.call("PATCH", f"/rules/{self._rule_ids[name]}", body, **self._query)

    def _order_rules(self, _: str) -> None:
        self._client.call(
            "PUT",
            "/rules/order",
            {"rules": [self._rule_ids[name] for name in self._rules]},
            **self._query,
        )

    def _all_links(self) -> dict[str, Mapping[str, Any]]:
        """Return the Links that existed and those that this run has created, by name."""
        return {
            **self._present.links,
            **{name: {"id": id_} for name, id_ in self._outcome.links.items()},
        }

    def _create_token(self, name: str) -> None:
        body = {"name": name, **self._tokens[name].body(self._outcome.facilities)}
        self._outcome.tokens[name] = self._client.call("POST", "/tokens", body, **self._query)[
            "token"
        ]

    def _change_token(self, name: str) -> None:
        there = self._present.tokens[name]
        wanted = self._tokens[name].body(self._outcome.facilities)
        body = {key: value for key, value in wanted.items() if value != there[key]}
        self._client.call("PATCH", f"/tokens/{there['id']}", body, **self._query)
