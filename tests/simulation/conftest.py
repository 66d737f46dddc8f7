"""Real servers for the simulated week."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.simulation.kills import empty_world


@pytest.fixture
def world(tmp_path_factory) -> Iterator[dict[str, str]]:
    """The addresses of a broker, of an empty centre and of an empty database for the shared tables."""
    with empty_world(tmp_path_factory.mktemp("world")) as addresses:
        yield addresses
