"""A receiver that another program runs, measured in place of ours.

For work on the DICOM layer alone.
"""


class Bare:
    """A receiver on a port of this machine, whose storage is not accessible."""

    name = "bare receiver"
    called_ae = "ANY-SCP"

    def __init__(self, port: int) -> None:
        self.port = port
        self.sender_environment: dict[str, str] = {}

    def reset(self) -> None:
        """Do nothing."""

    def wait_for_all(self, count: int) -> None:
        """Accept the sender's report."""

    def after(self) -> None:
        """Do nothing."""
