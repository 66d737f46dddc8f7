"""A front-end and a centre in real processes, and between them a link that can be cut."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from sqlalchemy import Engine

from domain.link import LinkState
from infra.clock import clock_from
from infra.database import reading
from tests.faults.proxy import Line, Wire
from tests.support.frontend import short_code
from tests.support.site import Site
from workers import intake
from workers.doorbell import Doorbell
from workers.link import standing

QUICK_LINK = {
    "JIESUAN_LINK_EVERY_SECONDS": "0.3",
    "JIESUAN_LINK_UNSURE_SECONDS": "0.6",
    "JIESUAN_LINK_DOWN_SECONDS": "1.2",
    "JIESUAN_DRAIN_PAUSE_SECONDS": "0.2",
}
"""A front-end that knows within seconds that its link is down, and drains as soon as it is up."""


@contextmanager
def link_to(broker_url: str) -> Iterator[Wire]:
    """The link: between the front-end and the centre's broker."""
    thread = Line()
    port = urlsplit(broker_url).port
    assert port is not None
    made = Wire(thread, "link", port, random.Random(1))
    yield made
    made.close()
    thread.close()


class WiredCity:
    """What both sides do in it, and see of it; the clock is that of the site's processes."""

    def __init__(self, site: Site, center: Engine) -> None:
        self.site, self.center = site, center
        self.clock = clock_from(site.environment["JIESUAN_CLOCK"])
        self._count = 0

    @staticmethod
    def start(site: Site, wire: Wire, *center_roles: str) -> None:
        """Start the centre's roles, and a front-end with a broker of its own, which hears of the centre by the wire."""
        url = site.broker_url
        site.environment |= {"JIESUAN_FRONTEND_BROKER_URL": url}
        site.start(*center_roles)
        site.environment |= {"JIESUAN_CENTER_BROKER_URL": url.replace(f":{wire.target_port}", f":{wire.port}")}
        site.start("desk", "link")

    def next_visit(self, institution_code: str) -> str:
        """The number of another visit."""
        self._count += 1
        return f"{short_code(institution_code)}{self._count:010d}"

    def accept(self, handed: intake.Submission) -> None:
        """Hand a claim in and ring."""
        (outcome,) = intake.accept(self.site.engine, [handed], at=self.clock.now())
        assert isinstance(outcome, intake.Accepted)
        Doorbell(self.site.post, self.site.frontend).ring(handed.institution_code)

    def link(self) -> LinkState:
        """How the front-end thinks of its link."""
        with reading(self.site.engine) as connection:
            return standing(connection, at=self.clock.now()).state
