"""Deletion of stored instances: soft, until the organisation's retention ends; then purged, and the blobs swept."""
