"""A front-end pulls a catalogue: in parts, only what it lacks, and on from where the connection broke."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from itertools import count

import pytest
from sqlalchemy import func, select

from domain.catalogue import CatalogueItem
from infra import lanes
from tests.support.center import fill_center
from tests.support.frontend import DAY, HOSPITAL
from tests.support.publishing import fetching_line, publish_catalogue
from workers import publications, retotal
from workers.tables import reference_part

SINCE = DAY - timedelta(days=30)
ITEMS = tuple(CatalogueItem(f"C{number:04d}", f"项目{number}", "1", "1", "01", 0) for number in range(600))
_versions = count(1)


@pytest.fixture(scope="module")
def centre(center_engine):
    fill_center(center_engine, persons=0)
    return center_engine


@pytest.fixture
def line(tmp_path, centre, center_database_url, monkeypatch):
    """A front-end that holds a catalogue of 600 items in 64 parts, and asks for about four parts at a time."""
    publish_catalogue(centre, f"v{next(_versions):03d}", ITEMS, day=SINCE)
    made = fetching_line(tmp_path, center_database_url)
    monkeypatch.setattr(publications, "MOST_WANTED_BYTES", 3000)
    yield made
    made.close()
    made.engine.dispose()


@pytest.fixture
def wanted(line, monkeypatch):
    """How often each part was asked for."""
    asked = Counter()
    ask = type(line.frontend).ask_for_reference

    def counted(frontend, wants=()):
        asked.update(wants)
        ask(frontend, wants)

    monkeypatch.setattr(type(line.frontend), "ask_for_reference", counted)
    return asked


def in_force(line):
    with line.engine.connect() as connection:
        return retotal.held(connection)[1]


def new_version(centre, changed=600):
    """Another catalogue, in which so many items have another name."""
    version = f"v{next(_versions):03d}"
    items = [item._replace(item_name=f"{version}{item.item_name}") for item in ITEMS[:changed]]
    publish_catalogue(centre, version, [*items, *ITEMS[changed:]], day=SINCE)
    return version


def pull(line):
    line.frontend.ask_for_reference()
    line.carry()


def test_only_what_changed_is_fetched(centre, line, wanted):
    version = new_version(centre, changed=1)
    pull(line)
    assert in_force(line) == version
    assert len(wanted) == 2, "the part the item is in, and the matches, which name it"


def test_an_interrupted_pull_goes_on_where_it_broke(centre, line, wanted):
    before, version = in_force(line), new_version(centre)
    chance = random.Random(3)

    line.loses = lambda task: task == lanes.REFERENCE_KEEP and chance.random() < 0.3
    rounds = 0
    while in_force(line) != version:
        assert in_force(line) == before, "a version that is not whole is not used"
        pull(line)
        rounds += 1
        assert rounds < 100

    lost = sum(times - 1 for times in wanted.values())
    assert rounds > 2, "it was interrupted"
    assert max(wanted.values()) <= 5
    assert lost < len(wanted), "what had come was not fetched again"
    with line.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(reference_part)).scalar() >= 64


def test_a_part_that_was_damaged_on_the_way_is_not_kept_and_is_fetched_again(centre, line, wanted, monkeypatch):
    version = new_version(centre, changed=3)
    damaged = []
    store = publications._store

    def damage(connection, parts):
        parts = list(parts)
        if parts and not damaged:
            damaged.append(parts[0].digest)
            parts[0] = parts[0]._replace(content=parts[0].content[:-1])
        store(connection, parts)

    monkeypatch.setattr(publications, "_store", damage)
    pull(line)
    pull(line)
    assert in_force(line) == version
    assert wanted[damaged[0]] == 2


def test_what_another_institution_has_is_not_sent(centre, line):
    asked = publications.ReferenceAsked(holds=(), wants=())
    from center.publications import answer

    with centre.begin() as connection:
        sent = answer(connection, asked, frontend="hospital-1", at=line.clock.now())
    manifest = next(row for row in sent.rows if row.kind == "catalogue")
    assert f"matches/{HOSPITAL}".encode() in manifest.content
    assert b"matches/440100000002" not in manifest.content
