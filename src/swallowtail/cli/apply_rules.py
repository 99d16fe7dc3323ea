"""The rules of a hospital's document: what is sent where without being asked. Pure.

    [[rule]]             name, to = ["link:destination", …], archive = "id", priority,
                         enabled, when_complete, quiet,
                         acquisitions_only, final
    [rule.condition]     calling_ae, called_ae, device, link, address, sop_classes,
                         modalities, archives = ["id", …],
                         tags = { StudyDescription = "…" }

Rules are one list in which the order counts, so a document that declares one (or writes `rule =
[]`) owns them all: their order is the document's, and what it does not name is removed. A document
that declares none leaves the rules alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from swallowtail.calls.document import Document

Text = Annotated[str, Meta(max_length=128)]
Place = Annotated[str, Meta(max_length=130)]
"""A Link's name, a colon, and the name of one of its destinations."""
Links = Mapping[str, Mapping[str, Any]]
"""Links by name, as the API gives them."""


class ConditionEntry(Document, frozen=True, kw_only=True):
    """The condition of a rule on an instance; `link` is a Link's name."""

    calling_ae: Text = ""
    called_ae: Text = ""
    device: Text = ""
    link: Text = ""
    address: Text = ""
    sop_classes: tuple[Text, ...] = ()
    modalities: tuple[Text, ...] = ()
    tags: dict[Text, Text] = msgspec.field(default_factory=dict)
    archives: tuple[Text, ...] = ()
    """Ids of archives."""


class RuleEntry(Document, frozen=True, kw_only=True):
    """A rule, distinguished by its name."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    to: Annotated[tuple[Place, ...], Meta(max_length=64)] = ()
    priority: int = 0
    archive: Text | None = None
    """Id of the archive into which the study is put."""
    enabled: bool = True
    condition: ConditionEntry = ConditionEntry()
    when_complete: bool = False
    quiet: Annotated[float, Meta(ge=0)] = 30.0
    acquisitions_only: bool = True
    final: bool = False

    def body(self, links: Links) -> dict[str, Any]:
        """Return what the API takes.

        A Link that is not there yet has no id, and its name stands for it.
        """
        ids = {name: str(link["id"]) for name, link in links.items()}
        places = (place.partition(":") for place in self.to)
        condition: dict[str, Any] = msgspec.to_builtins(self.condition)
        condition["link"] = ids.get(self.condition.link, self.condition.link)
        condition["tags"] = [
            {"tag": tag, "pattern": pattern} for tag, pattern in self.condition.tags.items()
        ]
        same = ("name", "enabled", "when_complete", "quiet", "acquisitions_only", "final")
        targets = [f"{ids.get(link, link)}:{destination}" for link, _, destination in places]
        return {
            **{name: getattr(self, name) for name in same},
            "condition": {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in condition.items()
            },
            "action": {"targets": targets, "priority": self.priority, "archive": self.archive},
        }


def changed(rule: RuleEntry, there: Mapping[str, Any], links: Links) -> dict[str, Any]:
    """Return the changes of an existing rule."""
    return {key: value for key, value in rule.body(links).items() if there[key] != value}


def out_of_order(rules: Sequence[RuleEntry], there: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the order has to be set, once new rules were put last and old ones removed."""
    wanted = [rule.name for rule in rules]
    kept = [rule["name"] for rule in there if rule["name"] in wanted]
    return kept + [name for name in wanted if name not in kept] != wanted


def rule_problems(
    rules: Sequence[RuleEntry], destinations: Mapping[str, frozenset[str] | None]
) -> Iterator[tuple[str, str]]:
    """Find rules that send where nothing is, as far as the document has the Link's destinations."""
    for index, rule in enumerate(rules):
        for place in rule.to:
            link, _, name = place.partition(":")
            known = destinations.get(link)
            if not (link and name):
                yield (
                    f"$.rule[{index}].to",
                    (
                        f"{place!r} names no destination; one is 'main-radiology:pacs', a Link and"
                        " its destination"
                    ),
                )
            elif known is not None and name not in known:
                yield (
                    f"$.rule[{index}].to",
                    f"Link {link!r} has no destination {name!r} in this file",
                )
