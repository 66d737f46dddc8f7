"""Who is registered in a folder is asked about at the centre, where the front-end settles before the centre answers."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from domain.messages import PersonAsked
from domain.ways import Way
from producers.his import watcher
from tests.support.frontend import HOSPITAL, NOON, PERSON, new_frontend
from workers.tables import institution


class Site:
    """Stands for `workers.tasks.Frontend`, and for the door of its one institution."""

    institution_code = HOSPITAL

    def __init__(self, engine):
        self.engine, self.asked, self.exchange = engine, [], self

    def registered_on(self, day):
        return {PERSON} if day == NOON.date() else set()

    def send(self, task, lane, message, shown):
        self.asked.append(message)
        return True


@pytest.mark.parametrize("way", list(Way))
def test_only_a_front_end_that_settles_locally_asks_who_came_by_file(tmp_path, way):
    site = Site(new_frontend(f"sqlite:///{tmp_path}/frontend.db", HOSPITAL))
    with site.engine.begin() as connection:
        connection.execute(update(institution).values(way=str(way)))

    watcher._ask_about_registered(site, site, NOON)

    assert site.asked == ([PersonAsked(citizens=(PERSON,))] if way is Way.LOCAL else [])
    site.engine.dispose()
