"""The asyncio that we allow ourselves.

Named tasks, a network that can be simulated, one pump for every machine, PHI-free logs.
"""
