"""Bytes of the PDUs, P-DATA-TF excepted (`pdu_reader` streams that one).

Decoding is liberal where PS3.8 lets receivers be.

Unknown items are skipped, AE titles may be padded with spaces or NULs, a UID may be padded with
NULs or spaces, a repeated user item counts once, a malformed optional item (roles, window, identity
…) counts as absent: it costs the peer that option, not the association. What cannot be read at all
(a length that leaves its PDU, no user information) is a violation.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Final, NoReturn, TypeVar

from swallowtail.dicom.pdu import (
    Abort,
    AnsweredContext,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    AsyncOperationsWindow,
    CommonExtendedNegotiation,
    ExtendedNegotiation,
    Pdu,
    PduType,
    ProposedContext,
    ReleaseRP,
    ReleaseRQ,
    RoleSelection,
    UserIdentity,
    UserInformation,
)
from swallowtail.dicom.violations import AbortReason, ViolationError

T = TypeVar("T")

HEADER_LENGTH: Final = 6  # type, reserved, length (PS3.8 9.3.1)
_FIXED: Final = struct.Struct(
    ">HH16s16s32x"
)  # protocol version … reserved, bytes 7-74 of RQ and AC
_ITEM: Final = struct.Struct(">BxH")

# Item types (PS3.8 9.3.2, 9.3.3, Annex D; PS3.7 D.3.3).
_APPLICATION_CONTEXT, _PROPOSED, _ANSWERED, _ABSTRACT, _TRANSFER, _USER = (
    0x10,
    0x20,
    0x21,
    0x30,
    0x40,
    0x50,
)
(
    _MAX_LENGTH,
    _CLASS_UID,
    _WINDOW,
    _ROLE,
    _VERSION,
    _EXTENDED,
    _COMMON,
    _IDENTITY,
    _IDENTITY_ANSWER,
) = range(0x51, 0x5A)


def encode_pdu(pdu: Pdu) -> bytes:
    """Return the bytes of `pdu`, header included; ValueError if a value does not fit its field."""
    kind, body = _body_of(pdu)
    return struct.pack(">BxI", kind, len(body)) + body


def _body_of(pdu: Pdu) -> tuple[PduType, bytes]:
    match pdu:
        case AssociateRQ():
            proposals = b"".join(_item(_PROPOSED, _proposed(context)) for context in pdu.contexts)
            return PduType.ASSOCIATE_RQ, _associate(pdu, proposals)
        case AssociateAC():
            answers = b"".join(_item(_ANSWERED, _answered(context)) for context in pdu.contexts)
            return PduType.ASSOCIATE_AC, _associate(pdu, answers)
        case AssociateRJ():
            return PduType.ASSOCIATE_RJ, bytes((0, pdu.result, pdu.source, pdu.reason))
        case ReleaseRQ():
            return PduType.RELEASE_RQ, bytes(4)
        case ReleaseRP():
            return PduType.RELEASE_RP, bytes(4)
        case Abort():
            return PduType.ABORT, bytes((0, 0, pdu.source, pdu.reason))


def _associate(pdu: AssociateRQ | AssociateAC, contexts: bytes) -> bytes:
    fixed = _FIXED.pack(pdu.protocol_version, 0, _title(pdu.called), _title(pdu.calling))
    return (
        fixed
        + _text_item(_APPLICATION_CONTEXT, pdu.application_context)
        + contexts
        + _item(_USER, _user(pdu.user))
    )


def _title(title: str) -> bytes:
    raw = title.encode("latin-1")
    if len(raw) > 16:
        raise ValueError(f"an AE title has at most 16 characters, this one {len(raw)}")
    return raw.ljust(16)  # PS3.8 9.3.2: padded with spaces


def _item(kind: int, value: bytes) -> bytes:
    if len(value) > 0xFFFF:
        raise ValueError(
            f"item {kind:02X} is {len(value)} bytes long, more than its length field can state"
        )
    return _ITEM.pack(kind, len(value)) + value


def _text_item(kind: int, text: str) -> bytes:
    return _item(kind, text.encode("latin-1"))


def _sized(value: bytes) -> bytes:
    return struct.pack(">H", len(value)) + value


def _proposed(context: ProposedContext) -> bytes:
    syntaxes = b"".join(_text_item(_TRANSFER, uid) for uid in context.transfer_syntaxes)
    return bytes((context.id, 0, 0, 0)) + _text_item(_ABSTRACT, context.abstract_syntax) + syntaxes


def _answered(context: AnsweredContext) -> bytes:
    return bytes((context.id, 0, context.result, 0)) + _text_item(
        _TRANSFER, context.transfer_syntax
    )


def _user(user: UserInformation) -> bytes:
    items = [
        _item(_MAX_LENGTH, struct.pack(">I", user.max_pdu)),
        _text_item(_CLASS_UID, user.implementation_class),
    ]
    if user.window is not None:
        items.append(_item(_WINDOW, struct.pack(">HH", user.window.invoked, user.window.performed)))
    items.extend(
        _item(_ROLE, _sized(role.sop_class.encode("latin-1")) + bytes((role.scu, role.scp)))
        for role in user.roles
    )
    if user.implementation_version:
        items.append(_text_item(_VERSION, user.implementation_version))
    items.extend(
        _item(_EXTENDED, _sized(more.sop_class.encode("latin-1")) + more.information)
        for more in user.extended
    )
    items.extend(_item(_COMMON, _common(more)) for more in user.common_extended)
    if (who := user.identity) is not None:
        items.append(
            _item(
                _IDENTITY,
                bytes((who.kind, who.response_requested))
                + _sized(who.primary)
                + _sized(who.secondary),
            )
        )
    if user.identity_response is not None:
        items.append(_item(_IDENTITY_ANSWER, _sized(user.identity_response)))
    return b"".join(items)


def _common(more: CommonExtendedNegotiation) -> bytes:
    related = b"".join(_sized(uid.encode("latin-1")) for uid in more.related)
    return (
        _sized(more.sop_class.encode("latin-1"))
        + _sized(more.service_class.encode("latin-1"))
        + _sized(related)
    )


def decode_pdu(kind: int, body: bytes) -> Pdu:
    """Read a PDU of type `kind` from its `body` (header excluded, length already evaluated).

    ViolationError if it cannot be read.
    """
    if decode := _DECODERS.get(kind):
        return decode(body)
    raise ViolationError(f"PDU type {kind:02X} is unknown", AbortReason.UNRECOGNIZED_PDU)


def _invalid(what: str) -> NoReturn:
    raise ViolationError(what, AbortReason.INVALID_PARAMETER)


def _four_bytes(name: str, body: bytes) -> bytes:
    return body if len(body) == 4 else _invalid(f"{name} is {len(body)} bytes long instead of 4")


def _decode_rj(body: bytes) -> AssociateRJ:
    _, result, source, reason = _four_bytes("A-ASSOCIATE-RJ", body)
    return AssociateRJ(result, source, reason)


def _decode_abort(body: bytes) -> Abort:
    _, _, source, reason = _four_bytes("A-ABORT", body)
    return Abort(source, reason)


def _decode_release_rq(body: bytes) -> ReleaseRQ:
    _four_bytes("A-RELEASE-RQ", body)
    return ReleaseRQ()


def _decode_release_rp(body: bytes) -> ReleaseRP:
    _four_bytes("A-RELEASE-RP", body)
    return ReleaseRP()


def _decode_rq(body: bytes) -> AssociateRQ:
    version, called, calling, items = _decode_fixed("A-ASSOCIATE-RQ", body)
    contexts = tuple(_decode_proposed(value) for kind, value in items if kind == _PROPOSED)
    if not contexts:
        _invalid("the A-ASSOCIATE-RQ proposes no presentation context")
    if len({context.id for context in contexts}) < len(contexts):
        _invalid("the A-ASSOCIATE-RQ uses a presentation context id twice")
    return AssociateRQ(
        called, calling, contexts, _decode_user(items), _decode_application(items), version
    )


def _decode_ac(body: bytes) -> AssociateAC:
    version, called, calling, items = _decode_fixed("A-ASSOCIATE-AC", body)
    contexts = tuple(_decode_answered(value) for kind, value in items if kind == _ANSWERED)
    return AssociateAC(
        called, calling, contexts, _decode_user(items), _decode_application(items), version
    )


def _decode_fixed(name: str, body: bytes) -> tuple[int, str, str, list[tuple[int, bytes]]]:
    if len(body) < _FIXED.size:
        _invalid(f"{name} is {len(body)} bytes long, less than its fixed fields")
    version, _, called, calling = _FIXED.unpack_from(body)
    return version, _text(called), _text(calling), list(_items(body[_FIXED.size :]))


def _text(raw: bytes) -> str:
    return raw.decode("latin-1").strip(" \0")  # padding is spaces, from some peers NULs


def _items(body: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(body):
        if len(body) - at < _ITEM.size:
            _invalid("an item's header is cut off")
        kind, length = _ITEM.unpack_from(body, at)
        at += _ITEM.size + length
        if at > len(body):
            _invalid(f"item {kind:02X} is longer than what contains it")
        yield kind, body[at - length : at]


def _decode_proposed(value: bytes) -> ProposedContext:
    context_id, items = _decode_context(value)
    abstract = [_text(uid) for kind, uid in items if kind == _ABSTRACT]
    if len(abstract) != 1:
        _invalid(f"presentation context {context_id} has {len(abstract)} abstract syntaxes")
    return ProposedContext(
        context_id, abstract[0], tuple(_text(uid) for kind, uid in items if kind == _TRANSFER)
    )


def _decode_answered(value: bytes) -> AnsweredContext:
    context_id, items = _decode_context(value)
    syntax = next((_text(uid) for kind, uid in items if kind == _TRANSFER), "")
    return AnsweredContext(context_id, value[2], syntax)


def _decode_context(value: bytes) -> tuple[int, list[tuple[int, bytes]]]:
    if len(value) < 4:
        _invalid("a presentation context item is cut off")
    return value[0], list(_items(value[4:]))


def _decode_application(items: list[tuple[int, bytes]]) -> str:
    return next((_text(value) for kind, value in items if kind == _APPLICATION_CONTEXT), "")


def _decode_user(items: list[tuple[int, bytes]]) -> UserInformation:
    user = next((value for kind, value in items if kind == _USER), None)
    if user is None:
        _invalid("the user information item is missing")
    inner = list(_items(user))
    return UserInformation(
        max_pdu=_one(inner, _MAX_LENGTH, _decode_max_length)
        or 0,  # PS3.8 D.1: absent means no limit, as 0 does
        implementation_class=_one(inner, _CLASS_UID, _text) or "",
        implementation_version=_one(inner, _VERSION, _text) or "",
        window=_one(inner, _WINDOW, _decode_window),
        roles=_each(inner, _ROLE, _decode_role),
        extended=_each(inner, _EXTENDED, _decode_extended),
        common_extended=_each(inner, _COMMON, _decode_common),
        identity=_one(inner, _IDENTITY, _decode_identity),
        identity_response=_one(inner, _IDENTITY_ANSWER, _decode_identity_response),
    )


# Decoders of optional items answer None to a malformed value.


def _each(
    items: list[tuple[int, bytes]], kind: int, decode: Callable[[bytes], T | None]
) -> tuple[T, ...]:
    decoded = (decode(value) for found, value in items if found == kind)
    return tuple(value for value in decoded if value is not None)


def _one(
    items: list[tuple[int, bytes]], kind: int, decode: Callable[[bytes], T | None]
) -> T | None:
    return next(iter(_each(items, kind, decode)), None)


def _take(value: bytes) -> tuple[bytes, bytes] | None:
    """Split what a two-byte length announces from the rest."""
    if len(value) < 2 or (end := 2 + int.from_bytes(value[:2])) > len(value):
        return None
    return value[2:end], value[end:]


def _decode_max_length(value: bytes) -> int | None:
    return int.from_bytes(value) if len(value) == 4 else None


def _decode_window(value: bytes) -> AsyncOperationsWindow | None:
    return AsyncOperationsWindow(*struct.unpack(">HH", value)) if len(value) == 4 else None


def _decode_role(value: bytes) -> RoleSelection | None:
    if (taken := _take(value)) is None or len(taken[1]) != 2:
        return None
    uid, (scu, scp) = taken
    return RoleSelection(_text(uid), scu == 1, scp == 1)


def _decode_extended(value: bytes) -> ExtendedNegotiation | None:
    return (
        None if (taken := _take(value)) is None else ExtendedNegotiation(_text(taken[0]), taken[1])
    )


def _decode_common(value: bytes) -> CommonExtendedNegotiation | None:
    if (
        (first := _take(value)) is None
        or (second := _take(first[1])) is None
        or (third := _take(second[1])) is None
    ):
        return None
    related, rest = [], third[0]
    while rest:
        if (taken := _take(rest)) is None:
            return None
        related.append(_text(taken[0]))
        rest = taken[1]
    return CommonExtendedNegotiation(_text(first[0]), _text(second[0]), tuple(related))


def _decode_identity(value: bytes) -> UserIdentity | None:
    if (primary := _take(value[2:])) is None or (secondary := _take(primary[1])) is None:
        return None
    return UserIdentity(value[0], value[1] == 1, primary[0], secondary[0])


def _decode_identity_response(value: bytes) -> bytes | None:
    return None if (taken := _take(value)) is None else taken[0]


_DECODERS: Final[dict[int, Callable[[bytes], Pdu]]] = {
    PduType.ASSOCIATE_RQ: _decode_rq,
    PduType.ASSOCIATE_AC: _decode_ac,
    PduType.ASSOCIATE_RJ: _decode_rj,
    PduType.RELEASE_RQ: _decode_release_rq,
    PduType.RELEASE_RP: _decode_release_rp,
    PduType.ABORT: _decode_abort,
}
