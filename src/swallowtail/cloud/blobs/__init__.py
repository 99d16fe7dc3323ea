"""Data sets as received, in a folder.

Addressed by SHA-256 within a tenant, written once, durable before a store is acknowledged.

disk        what the blob store asks of a disk, and the machine's own
simulated   a disk that discards what was not fsynced, file and folder entry apart
workers     where disk calls run: threads, or inline in a simulated environment
folder      the adapter of the port `Blobs`, the same code on both disks
"""
