"""A configuration document.

It is refused with its problems, few and short enough to be sent, or Link can plan with it.
"""

import ipaddress

from swallowtail.calls.codec import encode
from swallowtail.calls.config import ConfigurationRefused, InvalidConfigurationError, dump, parse
from swallowtail.link.endpoint_plan import EndpointPlan, RefusedPlan, plan, socket_of
from swallowtail.link.policy import DEFAULT, judge_listener


def check(data: bytes) -> None:
    """Parse, dump, parse, plan."""
    try:
        configuration = parse(data)
    except InvalidConfigurationError as error:
        encode(ConfigurationRefused(version=1, problems=error.problems))
        return
    assert parse(dump(configuration)) == configuration
    named = [*configuration.listeners, *configuration.devices]
    assert all(
        one.name.isprintable() and one.ae_title.isprintable() and one.ae_title.strip()
        for one in named
    )
    assert all(
        uid.isprintable() for listener in configuration.listeners for uid in listener.sop_classes
    )
    for listener in configuration.listeners:
        assert ipaddress.ip_address(socket_of(listener)[0])
    planned = plan(
        {}, configuration, lambda address, port: judge_listener(DEFAULT, address, port), {"dicom"}
    )
    assert isinstance(planned, EndpointPlan | RefusedPlan)
