"""The whole city in one process and one thread: real use cases, simulated time, network, broker and crashes.

`python -m tests.simulation.city --seeds 300` runs many seeds, `--seed N --trace` shows one of them.
"""
