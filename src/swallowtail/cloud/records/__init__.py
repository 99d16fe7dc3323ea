"""The Cloud's rows: SQLAlchemy Core statements over a database, one module per port.

No ORM, no DICOM library.

schema       the tables                          migrations/  their history (Alembic)
database     intents, batches, group commit      prepared     statements of the commit path
scopes       whose rows a transaction sees       numbering    the next number of an instance
sqlite       the embedded adapter: one writer thread, readers
postgresql   the adapter of a server: writers for many tenants, from postgresql_server
memory       the same statements on a database in memory, without threads
organisations links configuration instances searching indexing lanes deliveries rules alarms audit
             the ports' statements
records      all ports over one database
"""
