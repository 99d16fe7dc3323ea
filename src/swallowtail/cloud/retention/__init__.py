"""Deletion of stored instances: soft, until the organisation's retention ends.

Then purged, and the blobs swept.
"""
