"""The sets of roles that routes admit, named by what their members do."""

from typing import Final

from swallowtail.cloud.model.tenancy import Role

ANYONE: Final = frozenset(Role)
OPERATORS: Final = frozenset({Role.OPERATOR})
ACCESS_MANAGERS: Final = frozenset({Role.OPERATOR, Role.ADMINISTRATOR})
"""Manage tokens, facilities and retention."""
CONFIGURATORS: Final = frozenset({Role.OPERATOR, Role.ADMINISTRATOR, Role.INTEGRATOR})
"""Configure Links, destinations and rules; an operator does so by applying a whole file."""
CONFIGURATION_READERS: Final = CONFIGURATORS | {Role.AUDITOR}
QUEUE_MANAGERS: Final = frozenset({Role.ADMINISTRATOR, Role.INTEGRATOR})
"""Manage the queues of an organisation: deliveries, index jobs, archives."""
PATIENT_DATA_READERS: Final = frozenset({Role.ADMINISTRATOR, Role.INTEGRATOR, Role.CLINICIAN})
"""Read patient data; never an operator."""
ADMINISTRATORS: Final = frozenset({Role.ADMINISTRATOR})
"""Decide about stored instances: which copy is visible, and what is deleted."""
AUDIT_READERS: Final = frozenset({Role.OPERATOR, Role.ADMINISTRATOR, Role.AUDITOR})
ALARM_READERS: Final = frozenset(
    {Role.ADMINISTRATOR, Role.INTEGRATOR, Role.CLINICIAN, Role.AUDITOR}
)
