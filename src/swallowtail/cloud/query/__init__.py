"""Searching and reading stored instances, within a principal's tenant and facilities."""
