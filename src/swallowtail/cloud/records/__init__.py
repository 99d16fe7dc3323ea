"""The Cloud's rows: SQLAlchemy Core statements over a database, one module per port.

No ORM, no DICOM library.

schema       the tables                          migrations/  their history (Alembic)
database     intents, batches, group commit
sqlite       the embedded adapter: one writer thread, readers
memory       the twin: the same statements on a database in memory, without threads;
people links configuration instances searching indexing lanes deliveries rules alarms audit
             the ports' statements
records      all ports over one database
"""
