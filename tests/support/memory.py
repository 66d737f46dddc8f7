"""kombu's in-memory broker, empty at the start and at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kombu import pools
from kombu.transport import memory


@contextmanager
def empty_memory_broker() -> Iterator[str]:
    """The address of the in-memory broker; its queues are shared by the whole process, so they are cleared."""
    _clear()
    yield "memory://"
    _clear()


def _clear() -> None:
    pools.reset()  # a connection remembers which queues it has declared
    memory.Channel.queues.clear()
    memory.Transport.global_state.clear()
