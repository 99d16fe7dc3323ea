"""The model of the Cloud: frozen values, and the ports of the stores that hold them.

No database, no DICOM library, no I/O.

    errors       what a port may raise
    paging       keyset cursors: every list pages
    tenancy      Organisation, Facility, Link and its credentials, Principal, ApiToken
    imaging      Arrival, Instance, Series, Study, and what is searched for
    indexing     IndexJob and its outcomes
    operations   configuration versions, running reports, unknown devices, alarms
    audit        AuditEvent in the terms of PS3.15 A.5, and the chain
    decisions    what every store must decide alike, as pure functions
    ports        one Protocol per family, each with one conformance suite that every adapter passes

The tenant is a parameter of every method that concerns one, and part of every key: what belongs to
another tenant is not found. Time and identifiers are arguments: UTC seconds as float, and text that
the caller drew from its source of randomness.
"""
