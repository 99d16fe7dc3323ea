"""Responses that pynetdicom's own thread must leave to the request that waits for them."""

import threading
from types import SimpleNamespace
from typing import Any

from swallowtail.sim.modality import leave_responses


def test_the_thread_takes_no_message_while_a_request_is_under_way() -> None:
    waiting: list[Any] = [(1, "response")]
    dimse = SimpleNamespace(get_msg=lambda block=False: waiting.pop() if waiting else (None, None))
    association: Any = SimpleNamespace(dimse=dimse, _reactor_checkpoint=threading.Event())
    leave_responses(association)
    assert association.dimse.get_msg(block=False) == (
        None,
        None,
    )  # the checkpoint is cleared: a request is under way
    assert association.dimse.get_msg(block=True) == (1, "response")
    waiting.append((3, "request of the peer"))
    association._reactor_checkpoint.set()
    assert association.dimse.get_msg(block=False) == (3, "request of the peer")
