"""Commands on a whole Cloud: check, back up, restore.

They work on the data folder of an embedded Cloud, also while it serves: the database is opened for
reading, and a blob that a row refers to is neither changed nor removed (`model.ports.Blobs`).
"""
