"""A receiver that somebody else runs, measured in place of ours.

For work on the DICOM layer alone.
"""


class Bare:
    """What listens on a port of this machine; nothing is known of where it puts things."""

    name = "bare receiver"
    called_ae = "ANY-SCP"

    def __init__(self, port: int) -> None:
        self.port = port
        self.sender_environment: dict[str, str] = {}

    def reset(self) -> None:
        """Nothing to forget."""

    def wait_for_all(self, count: int) -> None:
        """Believe the sender's report."""

    def after(self) -> None:
        """Nothing to look at."""
