"""The bytes of a command set. What is read survives its own bytes, and can be answered."""

from swallowtail.dicom import commands
from swallowtail.dicom.violations import ViolationError


def check(data: bytes) -> None:
    """Decode, encode, decode, answer."""
    try:
        command = commands.decode(data)
    except ViolationError:
        return
    assert commands.decode(commands.encode(command)) == command
    assert 0 <= command.message_id <= 0xFFFF
    assert isinstance(command.sop_class + command.sop_instance, str)
    assert isinstance(command.has_data_set, bool)
    assert "1.2." not in repr(command), "no UIDs where logs could take them from"
    if not command.is_response:
        answered = commands.decode(
            commands.encode(commands.response_to(command, 0xA700, comment="é" * 100))
        )
        assert (answered.is_response, answered.status) == (True, 0xA700)
