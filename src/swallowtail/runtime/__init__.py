"""The layer over asyncio.

Named tasks, a network that can be simulated, one pump for every machine, logs without patient data.
"""
