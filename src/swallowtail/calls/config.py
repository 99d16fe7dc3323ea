"""The configuration of one Link.

A versioned document that the Cloud owns and Link applies as a whole or refuses as a whole.

The structs are the schema; the Cloud publishes it as JSON Schema. Rules that a type cannot say are
in `problems`, which both sides run: the Cloud before it accepts a document, Link before it applies
one.
"""

import enum
import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from swallowtail.calls.codec import Call, Reader, encode
from swallowtail.calls.dimse_services.table import SERVICE_NAME
from swallowtail.dicom import ae_titles, uids

CONFIGURE: Final = "configure"

# the end: Python's `$` alone would let a line feed pass, and JSON Schema knows no `\Z`
_END: Final = r"$(?!\n)"

_AE_TITLE: Final = f"^{ae_titles.PATTERN}{_END}"
AeTitle = Annotated[str, Meta(min_length=1, max_length=ae_titles.MAX_LENGTH, pattern=_AE_TITLE)]
_NAME: Final = r"^[a-z0-9][a-z0-9._-]*" + _END
Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=_NAME)]
_UID: Final = f"^{uids.PATTERN}{_END}"
Uid = Annotated[str, Meta(min_length=1, max_length=uids.MAX_LENGTH, pattern=_UID)]
Address = Annotated[str, Meta(max_length=64)]
"""An IP address, or where it says so a network; what it must look like is in `problems`."""
Port = Annotated[int, Meta(ge=1, le=65535)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the document's parts.

    A key that nobody reads is an error, since a person wrote it for a reason.
    """


class EchoMeaning(enum.StrEnum):
    """What a C-ECHO answered with 0000 says."""

    CLOUD = "cloud"
    """The way to the Cloud is alive; without it the association is refused with (2,3,1)."""
    LINK = "link"
    """Link is up."""


class Device(Document, frozen=True, kw_only=True):
    """A system in the hospital that may speak to Link."""

    name: Name
    ae_title: AeTitle
    addresses: Annotated[tuple[Address, ...], Meta(min_length=1, max_length=64)]
    """Addresses or networks in CIDR notation that it may come from."""
    listeners: Annotated[tuple[Name, ...], Meta(max_length=64)] = ()
    """The listeners it may use; empty: all."""
    description: Annotated[str, Meta(max_length=200)] = ""


class Timeouts(Document, frozen=True, kw_only=True):
    """Deadlines of a DICOM listener, in seconds."""

    associate: Seconds = 30.0
    """From the connection to the complete A-ASSOCIATE-RQ (ARTIM, PS3.8 9.1.5)."""
    idle: Seconds = 300.0
    """An association on which nothing is said."""


class DicomListener(Document, frozen=True, kw_only=True):
    """A port on which Link is a DICOM application entity."""

    name: Name
    ae_title: AeTitle
    port: Port
    address: Address = "0.0.0.0"  # noqa: S104 - the policy file narrows it
    services: tuple[Annotated[str, Meta(pattern=SERVICE_NAME + _END)], ...] = (
        "verification",
        "storage",
    )
    sop_classes: Annotated[tuple[Uid, ...], Meta(max_length=256)] = ()
    """Storage SOP classes that are accepted; empty: every storage SOP class."""
    transfer_syntaxes: Annotated[tuple[Uid, ...], Meta(max_length=64)] = ()
    """Transfer syntaxes that are accepted, the preferred one first; empty.

    Every one of the standard, the first that is proposed.
    """
    additional_transfer_syntaxes: Annotated[tuple[Uid, ...], Meta(max_length=64)] = ()
    """Private transfer syntaxes that are accepted besides.

    Their data sets are kept as they come.
    """
    unknown_devices: Annotated[str, Meta(pattern="^(reject|accept)" + _END)] = "reject"
    echo: EchoMeaning = EchoMeaning.CLOUD
    max_associations: Annotated[int, Meta(ge=1, le=256)] = 64
    max_associations_per_address: Annotated[int, Meta(ge=1, le=256)] = 32
    """Several modalities may share an address, behind a router or NAT."""
    max_pdu: Annotated[int, Meta(ge=4096, le=1_048_576)] = 262_144
    max_object: Annotated[int, Meta(ge=1_048_576)] = 17_179_869_184
    """Bytes of one data set."""
    timeouts: Timeouts = Timeouts()


Host = Annotated[
    str,
    Meta(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?" + _END),
]
"""A host name or an IP address; what it resolves to is judged by the hospital's policy."""


class Transcoding(enum.StrEnum):
    """What may be done for a destination that refuses an instance's transfer syntax."""

    NEVER = "never"
    LOSSLESS = "lossless"
    """To a syntax that keeps every pixel."""


class AtCap(enum.StrEnum):
    """What happens to an instance that the destination has refused `attempts` times."""

    PARK = "park"
    """It is set aside as a dead letter until a person acts; the lane goes on."""
    STOP = "stop"
    """Its lane waits until a person acts."""


class DestinationTimeouts(Document, frozen=True, kw_only=True):
    """Deadlines towards a destination, in seconds."""

    connect: Seconds = 10.0
    associate: Seconds = 30.0
    response: Seconds = 120.0
    """From the last byte of an instance to its response.

    Also how long the destination may take no byte.
    """
    idle: Seconds = 10.0
    """How long an association without work is kept before it is released."""


class Destination(Document, frozen=True, kw_only=True):
    """A system in the hospital that Link stores to."""

    name: Name
    host: Host
    port: Port
    ae_title: AeTitle
    """Of the destination: the called AE title."""
    calling_ae: AeTitle = "SWALLOWTAIL"
    connections: Annotated[int, Meta(ge=1, le=8)] = 1
    """More than one keeps the order of each patient's instances, not the order of all."""
    max_pdu: Annotated[int, Meta(ge=4096, le=1_048_576)] = 262_144
    outstanding: Annotated[int, Meta(ge=1, le=4)] = 1
    """Requests that may await their response at once, where the destination negotiates it (PS3.7
    D.3.3.3). When one of them fails and is tried again, those that awaited their response beside it
    may have arrived before it.
    """
    transcoding: Transcoding = Transcoding.LOSSLESS
    attempts: Annotated[int, Meta(ge=1, le=100)] = 5
    """How often an instance is sent that the destination itself refuses (A9xx, Cxxx, 01xx).

    An outage never counts. One attempt is enough where the destination does not support its SOP
    class or transfer syntax and it cannot be transcoded.
    """
    at_cap: AtCap = AtCap.PARK
    timeouts: DestinationTimeouts = DestinationTimeouts()
    description: Annotated[str, Meta(max_length=200)] = ""


class Configuration(Document, frozen=True, kw_only=True):
    """Everything that a Link does, but for what the hospital's policy file forbids."""

    listeners: Annotated[tuple[DicomListener, ...], Meta(max_length=64)] = ()
    devices: Annotated[tuple[Device, ...], Meta(max_length=4096)] = ()
    destinations: Annotated[tuple[Destination, ...], Meta(max_length=256)] = ()


class Problem(Call, frozen=True, kw_only=True):
    """Why a document is refused: where in it, what is wrong, and the remedy."""

    field: str
    message: str


class Configure(Call, frozen=True, kw_only=True):
    """The Cloud's wish: run this document."""

    version: int
    document: bytes
    """JSON of Configuration.

    Up to MAX_DOCUMENT, so it travels as DATA when it does not fit into OPEN.
    """


class EndpointKind(enum.StrEnum):
    """What an endpoint is; a name is unique among those of its kind."""

    LISTENER = "listener"
    DESTINATION = "destination"


class EndpointState(Call, frozen=True, kw_only=True):
    """State of one listener or destination, as Link sees it now."""

    name: str
    state: str
    """Of a listener `listening`, `failed`, `closing`.

    Of a destination `reached` or `failed`, by its last answer within an hour, or `unused`.
    """
    detail: str = ""
    since: float = 0.0
    associations: int = 0
    kind: EndpointKind = EndpointKind.LISTENER


class Applied(Call, tag="applied", frozen=True, kw_only=True):
    """Link runs this version; single endpoints may have failed, each with its reason."""

    version: int
    endpoints: tuple[EndpointState, ...]


class ConfigurationRefused(Call, tag="refused", frozen=True, kw_only=True):
    """Link keeps what it ran before."""

    version: int
    problems: tuple[Problem, ...]


ConfigureAnswer = Applied | ConfigurationRefused

MAX_DOCUMENT: Final = 4 * 1024 * 1024
MAX_ADDRESSES: Final = 16_384
"""Of all devices together: each costs Link time on the loop that also serves modalities."""
MAX_PROBLEMS: Final = 100
"""So many are named at most, each in MAX_TEXT characters, and no more than MAX_REFUSAL bytes of
them.
"""
MAX_TEXT: Final = 400
MAX_REFUSAL: Final = 60_000
"""So that a refusal is one message (wire §2)."""

read_configure: Reader[Configure] = Reader(Configure)
read_configure_answer: Reader[ConfigureAnswer] = Reader(ConfigureAnswer)
_json = msgspec.json.Decoder(Configuration)


class InvalidConfigurationError(Exception):
    """The document cannot be run; `problems` says where and why."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(f"{problem.field}: {problem.message}" for problem in problems))
        self.problems = problems


def parse(document: bytes) -> Configuration:
    """Read and check a JSON document.

    Raises InvalidConfigurationError with every problem that was found.
    """
    if len(document) > MAX_DOCUMENT:
        raise InvalidConfigurationError(
            (Problem(field="$", message=f"is longer than {MAX_DOCUMENT} bytes"),)
        )
    try:
        configuration = _json.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidConfigurationError((problem_of(str(error)),)) from error
    if found := tuple(islice(problems(configuration), MAX_PROBLEMS)):
        raise InvalidConfigurationError(found)
    return configuration


def refusal(version: int, problems: tuple[Problem, ...]) -> ConfigurationRefused:
    """Give the answer that names as many of the problems as a message holds."""
    named: list[Problem] = []
    room = MAX_REFUSAL
    for problem in problems[:MAX_PROBLEMS]:
        cut = Problem(field=problem.field[:MAX_TEXT], message=problem.message[:MAX_TEXT])
        room -= len(encode(cut))
        if room < 0:
            break
        named.append(cut)
    return ConfigurationRefused(version=version, problems=tuple(named))


def dump(configuration: Configuration) -> bytes:
    """Give the canonical JSON of a configuration: the same configuration, the same bytes."""
    return msgspec.json.encode(configuration, order="deterministic")


def problem_of(message: str) -> Problem:
    """Translate a validation error of msgspec.

    A pattern is replaced by the rule that it stands for.
    """
    text, _, path = message.partition(" - at ")
    text = _RULES.get(text, text)
    return Problem(field=path.strip("`") or "$", message=text[:MAX_TEXT])


_RULES: Final = {
    f"Expected `str` matching regex {pattern!r}": rule
    for pattern, rule in {
        _AE_TITLE: (
            "is not an AE title: 1 to 16 ASCII characters, not only spaces, without backslash "
            "and control characters (PS3.5 6.2)"
        ),
        _UID: (
            "is not a UID: 1 to 64 characters, components of digits separated by single dots (PS3.5"
            " 9.1)"
        ),
        _NAME: (
            "is not a name: lower-case letters, digits, '.', '_' and '-', beginning with a letter"
            " or digit"
        ),
    }.items()
}


def problems(configuration: Configuration) -> Iterator[Problem]:
    """Find what the types cannot forbid.

    Doubled names and ports, references to nothing, addresses that are none.
    """
    yield from _doubled("listeners", (listener.name for listener in configuration.listeners))
    yield from _doubled("devices", (device.name for device in configuration.devices))
    yield from _doubled(
        "destinations", (destination.name for destination in configuration.destinations)
    )
    taken = Counter((listener.address, listener.port) for listener in configuration.listeners)
    yield from (
        Problem(
            field="$.listeners[...].port",
            message=f"{address}:{port} is used {count} times; give each listener its own",
        )
        for (address, port), count in taken.items()
        if count > 1
    )
    if (count := sum(len(device.addresses) for device in configuration.devices)) > MAX_ADDRESSES:
        yield Problem(
            field="$.devices",
            message=f"{count} addresses in all; write networks to stay below {MAX_ADDRESSES}",
        )
        return
    names = {listener.name for listener in configuration.listeners}
    for index, listener in enumerate(configuration.listeners):
        if not _is_address(listener.address):
            yield Problem(
                field=f"$.listeners[{index}].address",
                message=f"{listener.address!r} is not an IP address",
            )
    for index, device in enumerate(configuration.devices):
        yield from _device_problems(f"$.devices[{index}]", device, names)


def _device_problems(field: str, device: Device, listeners: set[str]) -> Iterator[Problem]:
    for address in device.addresses:
        if not _is_network(address):
            yield Problem(
                field=f"{field}.addresses",
                message=f"{address!r} is neither an IP address nor a network like 10.1.0.0/16",
            )
    for name in device.listeners:
        if name not in listeners:
            yield Problem(field=f"{field}.listeners", message=f"there is no listener {name!r}")


def _doubled(field: str, names: Iterable[str]) -> Iterator[Problem]:
    for name, count in Counter(names).items():
        if count > 1:
            yield Problem(
                field=f"$.{field}[...].name",
                message=f"{name!r} is used {count} times; names are unique",
            )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_network(text: str) -> bool:
    if not re.fullmatch(r"[0-9A-Fa-f:.]+(/[0-9]{1,3})?", text):
        return False
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
