"""The calls that Links of the tests announce (wire §3)."""

from swallowtail.calls.config import CONFIGURE
from swallowtail.calls.deliver import DELIVER
from swallowtail.calls.diagnostics import CHECK, PING, STATUS
from swallowtail.calls.net import call_capability

CALLS = tuple(call_capability(call) for call in (CONFIGURE, PING, STATUS, DELIVER, CHECK))
