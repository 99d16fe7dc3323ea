"""The configuration of one Link.

A versioned document of the Cloud, which Link applies as a whole or refuses as a whole.

The structs are the schema; the Cloud publishes it as JSON Schema. Rules that no type expresses are
in `problems`, which both sides run: the Cloud before it accepts a document, Link before it applies
one.
"""

import enum
import functools
import ipaddress
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Annotated, Any, Final, Union

import msgspec
from msgspec import Meta

from swallowtail.calls.codec import Call, Reader, encode
from swallowtail.calls.dicom_listener import DicomListener
from swallowtail.calls.document import (
    END,
    MAX_TEXT,
    Address,
    AeTitle,
    Document,
    ListenerSettings,
    Name,
    Port,
    Problem,
    Seconds,
    problem_of,
)

CONFIGURE: Final = "configure"

MAX_LISTENERS: Final = 64


class Device(Document, frozen=True, kw_only=True):
    """A system in the hospital that may connect to Link."""

    name: Name
    ae_title: AeTitle
    addresses: Annotated[tuple[Address, ...], Meta(min_length=1, max_length=64)]
    """Addresses or networks in CIDR notation that it may come from."""
    listeners: Annotated[tuple[Name, ...], Meta(max_length=64)] = ()
    """The listeners it may use; empty: all."""
    description: Annotated[str, Meta(max_length=200)] = ""


Host = Annotated[
    str,
    Meta(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?" + END),
]
"""A host name or an IP address; the hospital's policy decides on what it resolves to."""


class Transcoding(enum.StrEnum):
    """The transcoding for a destination that refuses an instance's transfer syntax."""

    NEVER = "never"
    LOSSLESS = "lossless"
    """To a transfer syntax that preserves every pixel."""


class AtCap(enum.StrEnum):
    """The effect on an instance that the destination has refused `attempts` times."""

    PARK = "park"
    """It is parked as a dead letter; its lane continues."""
    STOP = "stop"
    """Its lane waits until a person retries or skips it."""


class DestinationTimeouts(Document, frozen=True, kw_only=True):
    """Deadlines towards a destination, in seconds."""

    connect: Seconds = 10.0
    associate: Seconds = 30.0
    response: Seconds = 120.0
    """From the last byte of an instance to its response.

    Also how long the destination may accept no byte.
    """
    idle: Seconds = 10.0
    """How long an association without work is kept before it is released."""


class Destination(Document, frozen=True, kw_only=True, tag_field="protocol", tag="dicom"):
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

    @property
    def patience(self) -> float:
        """Return the sum of the deadlines of one attempt."""
        limits = self.timeouts
        return limits.connect + limits.associate + limits.response


class Configuration(Document, frozen=True, kw_only=True):
    """Everything that a Link does, within the limits of the hospital's policy file."""

    listeners: Annotated[tuple[ListenerSettings, ...], Meta(max_length=MAX_LISTENERS)] = ()
    devices: Annotated[tuple[Device, ...], Meta(max_length=4096)] = ()
    destinations: Annotated[tuple[Destination, ...], Meta(max_length=256)] = ()


DEFAULT_PROTOCOL: Final = "dicom"
"""The protocol of a listener or destination that names none."""
DESTINATION_PROTOCOLS: Final = frozenset({"dicom"})
LISTENERS: Final[dict[str, type[ListenerSettings]]] = {"dicom": DicomListener}
"""The protocols that Link listens on, with their settings; Link serves each (`link.protocols`)."""


class Configure(Call, frozen=True, kw_only=True):
    """The request to run this document."""

    version: int
    document: bytes
    """JSON of Configuration.

    Up to MAX_DOCUMENT, so it travels as DATA when it does not fit into OPEN.
    """


class EndpointKind(enum.StrEnum):
    """The kind of an endpoint; a name is unique among those of its kind."""

    LISTENER = "listener"
    DESTINATION = "destination"


class EndpointState(Call, frozen=True, kw_only=True):
    """The state of one listener or destination."""

    name: str
    state: str
    """Of a listener `listening`, `failed`, `closing`.

    Of a destination `reached` or `failed`, by its last answer within an hour, or `unused`.
    """
    detail: str = ""
    since: float = 0.0
    connections: int = 0
    """Open connections; with DICOM, associations."""
    kind: EndpointKind = EndpointKind.LISTENER


class Applied(Call, tag="applied", frozen=True, kw_only=True):
    """The response when Link runs this version; single endpoints may have failed."""

    version: int
    endpoints: tuple[EndpointState, ...]


class ConfigurationRefused(Call, tag="refused", frozen=True, kw_only=True):
    """The response when Link continues to run what it ran before."""

    version: int
    problems: tuple[Problem, ...]


ConfigureAnswer = Applied | ConfigurationRefused

MAX_DOCUMENT: Final = 4 * 1024 * 1024
MAX_ADDRESSES: Final = 16_384
"""Of all devices together: each costs time on the loop of Link that also serves modalities."""
MAX_PROBLEMS: Final = 100
"""So many are named at most, each in MAX_TEXT characters, and no more than MAX_REFUSAL bytes of
them.
"""
MAX_REFUSAL: Final = 60_000
"""So that a refusal is one message (wire §2)."""

read_configure: Reader[Configure] = Reader(Configure)
read_configure_answer: Reader[ConfigureAnswer] = Reader(ConfigureAnswer)


class InvalidConfigurationError(Exception):
    """A document that cannot be run; `problems` has the fields and the reasons."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(f"{problem.field}: {problem.message}" for problem in problems))
        self.problems = problems


def listener_type() -> Any:
    """Return the union of the settings of every protocol."""
    return Union[(*LISTENERS.values(),)]


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a document."""
    found = msgspec.json.schema(configuration_type())
    make_protocol_optional(found["$defs"])
    return found


def make_protocol_optional(definitions: Mapping[str, Any]) -> None:
    """Change JSON Schemas of structs so that `protocol`, their tag, may be left out."""
    for part in definitions.values():
        if "protocol" in part.get("required", ()):
            part["required"].remove("protocol")
            part["properties"]["protocol"]["default"] = DEFAULT_PROTOCOL


def configuration_type() -> type[Configuration]:
    """Return the struct that a document is read as: with the listeners of every protocol."""
    return _configuration_type(listener_type())


@functools.cache
def _configuration_type(listener: Any) -> type[Configuration]:
    listeners = Annotated[tuple[listener, ...], Meta(max_length=MAX_LISTENERS)]
    configuration = msgspec.defstruct(
        "Configuration",
        [("listeners", listeners, ())],
        bases=(Configuration,),
        frozen=True,
        kw_only=True,
    )
    assert issubclass(configuration, Configuration)
    return configuration


class _Protocol(msgspec.Struct):
    protocol: str | None = None


class _Protocols(msgspec.Struct):
    listeners: tuple[_Protocol, ...] = ()
    destinations: tuple[_Protocol, ...] = ()


def add_protocols(tables: Iterable[dict[str, Any]]) -> None:
    """Enter the default protocol into the listeners or destinations that name none."""
    for table in tables:
        table.setdefault("protocol", DEFAULT_PROTOCOL)


def _unsupported(found: _Protocols) -> Iterator[Problem]:
    for index, listener in enumerate(found.listeners):
        yield from unsupported_protocol(f"$.listeners[{index}]", listener.protocol, LISTENERS)
    for index, destination in enumerate(found.destinations):
        yield from unsupported_protocol(
            f"$.destinations[{index}]", destination.protocol, DESTINATION_PROTOCOLS
        )


def unsupported_protocol(
    field: str, protocol: str | None, supported: Iterable[str]
) -> Iterator[Problem]:
    """Check the protocol of a listener or destination; None: the document names none."""
    if protocol is not None and protocol not in (names := sorted(supported)):
        message = f"{protocol[:64]!r} is not supported; this release supports {', '.join(names)}"
        yield Problem(field=f"{field}.protocol", message=message)


def listener_capability(protocol: str) -> str:
    """Return the capability that a Link announces for a protocol that it listens on (wire §3)."""
    return f"listener:{protocol}"


def parse(document: bytes) -> Configuration:
    """Read and check a JSON document.

    Raises InvalidConfigurationError with every problem that was found.
    """
    if len(document) > MAX_DOCUMENT:
        raise InvalidConfigurationError(
            (Problem(field="$", message=f"is longer than {MAX_DOCUMENT} bytes"),)
        )
    configuration = _read(document)
    if found := tuple(islice(problems(configuration), MAX_PROBLEMS)):
        raise InvalidConfigurationError(found)
    return configuration


def _read(document: bytes) -> Configuration:
    try:
        found = msgspec.json.decode(document, type=_Protocols)
        if unsupported := tuple(islice(_unsupported(found), MAX_PROBLEMS)):
            raise InvalidConfigurationError(unsupported)
        if all(entry.protocol is not None for entry in (*found.listeners, *found.destinations)):
            read = msgspec.json.decode(document, type=configuration_type())
        else:
            tables = msgspec.json.decode(document)
            add_protocols((*tables.get("listeners", ()), *tables.get("destinations", ())))
            read = msgspec.convert(tables, configuration_type())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidConfigurationError((problem_of(str(error)),)) from error
    return Configuration(
        listeners=read.listeners, devices=read.devices, destinations=read.destinations
    )


def refusal(version: int, problems: tuple[Problem, ...]) -> ConfigurationRefused:
    """Return the response with as many of the problems as a message holds."""
    named: list[Problem] = []
    capacity = MAX_REFUSAL
    for problem in problems[:MAX_PROBLEMS]:
        cut = Problem(field=problem.field[:MAX_TEXT], message=problem.message[:MAX_TEXT])
        capacity -= len(encode(cut))
        if capacity < 0:
            break
        named.append(cut)
    return ConfigurationRefused(version=version, problems=tuple(named))


def dump(configuration: Configuration) -> bytes:
    """Return the canonical JSON of a configuration: equal configurations have equal bytes."""
    return msgspec.json.encode(configuration, order="deterministic")


def settings_for(document: bytes, capabilities: Collection[str]) -> bytes:
    """Return a stored document as a Link with these capabilities gets it.

    It leaves out the fields that have their default: so a Link of an older release, which does not
    have a field, runs the document until somebody sets the field; then it refuses it (ADR 0025).
    Raises InvalidConfigurationError when the Link does not support a protocol of a listener.
    """
    configuration = _read(document)
    protocols = {listener.protocol for listener in configuration.listeners}
    if missing := sorted(
        name for name in protocols if listener_capability(name) not in capabilities
    ):
        message = (
            f"this Link does not support protocol {', '.join(missing)}; update Link, or remove the"
            " listeners of this protocol"
        )
        raise InvalidConfigurationError((Problem(field="$.listeners", message=message),))
    return msgspec.json.encode(_settings(configuration), order="deterministic")


def _settings(part: Any) -> Any:
    if isinstance(part, tuple):
        return [_settings(entry) for entry in part]
    if not isinstance(part, msgspec.Struct):
        return part
    config, changed = part.__struct_config__, {}
    if config.tag_field is not None:
        changed[config.tag_field] = config.tag
    for field in msgspec.structs.fields(part):
        value = getattr(part, field.name)
        if value != field.default:
            changed[field.name] = _settings(value)
    return changed


def problems(configuration: Configuration) -> Iterator[Problem]:
    """Find what the types cannot forbid.

    Duplicate names and ports, references to nothing, invalid addresses.
    """
    yield from _duplicates("listeners", (listener.name for listener in configuration.listeners))
    yield from _duplicates("devices", (device.name for device in configuration.devices))
    yield from _duplicates(
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
        for field, message in listener.problems():
            yield Problem(field=f"$.listeners[{index}].{field}", message=message[:MAX_TEXT])
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


def _duplicates(field: str, names: Iterable[str]) -> Iterator[Problem]:
    for name, count in Counter(names).items():
        if count > 1:
            yield Problem(
                field=f"$.{field}[...].name",
                message=f"{name!r} is used {count} times; names are unique",
            )


def _is_network(text: str) -> bool:
    if not re.fullmatch(r"[0-9A-Fa-f:.]+(/[0-9]{1,3})?", text):
        return False
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
