"""Writes the sample city into the databases of the centre and of the front-ends, and makes its secrets."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, func, insert, select

import center.catalogue.tables
import center.tables
import workers.tables
from center.catalogue.entries import enter_standing
from center.clearing import calendar
from center.policy.publications import PolicyRefused, review
from center.serving.entering import enter
from city.sample.institutions import BACKLOG_CAP, FAIR_DAY, SHARED
from city.sample.morning import CATALOGUE_VERSION, City, sample_city
from domain.catalogue import Match
from domain.clearing import CalendarRule
from domain.identity import birth_in
from domain.timetable import DEFAULT_WINDOWS
from infra.clock import SHANGHAI
from infra.database import copy_rows, open_database
from infra.envelope import frontend_key
from infra.publication import Publication, assembled, in_parts
from infra.reference import catalogue_row, policy_row
from infra.settings import Settings
from producers.api.keys import hash_of

log = logging.getLogger("seed")

POLICY_FILE = "guangzhou_2024.toml"
FOLDER = "city"
"""Where in the data folder a sample city that is kept has its things."""
API_KEYS = "api_keys.json"


def seed_center(engine: Engine, city: City, *, policies_dir: Path) -> bool:
    """Write institutions, persons, reference data, windows and the clearing calendar; False when it is there already.

    Raises PolicyRefused when the policy is none to settle by; then nothing is written.
    """
    tables = center.tables
    matches = [match for institution in city.institutions for match in institution.matches]
    with engine.begin() as connection:
        if _holds(connection, tables.person):
            return False
        enter(
            connection,
            [
                {
                    "institution_code": institution.institution_code,
                    "short_code": institution.short_code,
                    "name": institution.name,
                    "kind": institution.kind,
                    "level": institution.level,
                    "size": str(institution.size),
                    "backlog_cap": BACKLOG_CAP[institution.size],
                    "frontend": institution.frontend,
                    "connection": "shared" if institution.frontend == SHARED else "own",
                }
                for institution in city.institutions
            ],
        )
        copy_rows(
            connection,
            tables.person,
            ("citizen_id_no", "scheme", "category", "entitled", "account_balance_fen", "birth"),
            (
                (
                    person.citizen_id_no,
                    person.scheme,
                    person.category,
                    person.entitled,
                    person.account_balance_fen,
                    birth_in(person.citizen_id_no),
                )
                for person in city.people
                if person.is_known
            ),
        )
        _publish(connection, city, matches, policies_dir)
        connection.execute(
            insert(tables.upload_window),
            [
                {
                    "name": window.name,
                    "opens": window.opens,
                    "closes": window.closes,
                    "days": window.days,
                    "frontend": window.frontend,
                    "lines_per_hour": window.lines_per_hour,
                    "bytes_per_hour": window.bytes_per_hour,
                    "slice_seconds": window.slice_length // timedelta(seconds=1),
                }
                for window in DEFAULT_WINDOWS
            ],
        )
        calendar.set_rule(
            connection,
            CalendarRule(date(FAIR_DAY.year, 1, 1), end_day=31, closing_workdays=5),
            by="示例城市",
            reason="按自然月清算，月末后第五个工作日关账",
            at=datetime.combine(FAIR_DAY, time(), tzinfo=SHANGHAI),
        )
    return True


def seed_frontend(
    engine: Engine, city: City, frontend: str, *, policies_dir: Path, api_keys: Mapping[str, str]
) -> bool:
    """Write a front-end's institutions, with the hashes of their API keys, and its reference data; False when done."""
    tables = workers.tables
    with engine.begin() as connection:
        if _holds(connection, tables.institution):
            return False
        connection.execute(
            insert(tables.institution),
            [
                {
                    "institution_code": institution.institution_code,
                    "short_code": institution.short_code,
                    "name": institution.name,
                    "kind": institution.kind,
                    "level": institution.level,
                    "api_key_hash": hash_of(api_keys[institution.institution_code]),
                    "backlog_cap": BACKLOG_CAP[institution.size],
                }
                for institution in city.institutions
                if institution.frontend == frontend
            ],
        )
        own = {one.institution_code: one.level for one in city.institutions if one.frontend == frontend}
        made = in_parts(CATALOGUE_VERSION, city.item_records, city.matches_of(frontend), own)
        whole = assembled(made.manifest, lambda digests: {digest: made.parts[digest] for digest in digests})
        connection.execute(insert(tables.reference_part), _parts(made))
        connection.execute(insert(tables.reference), [catalogue_row(whole), _policy(policies_dir)])
    return True


def make_secrets(folder: Path, frontends: Sequence[str], city: City) -> dict[str, str]:
    """The API key of each institution; keys, the centre's secret and the sealing keys are made when they are missing.

    All are files that only their owner can read.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    secret = bytes.fromhex(_kept(folder / "center_secret", secrets.token_hex(32)))
    for frontend in frontends:
        _kept(folder / f"{frontend}.key", frontend_key(secret, frontend).hex())
    return make_api_keys(folder, city)


def kept_secret(path: Path) -> str:
    """The password in this file, made when there is none; only its owner can read it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return _kept(path, secrets.token_urlsafe(24))


def make_api_keys(folder: Path, city: City) -> dict[str, str]:
    """The API key of each institution, made when the folder holds none."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = {institution.institution_code: secrets.token_urlsafe(24) for institution in city.institutions}
    keys: dict[str, str] = json.loads(_kept(folder / API_KEYS, json.dumps(made, indent=1)))
    return keys


def seed(settings: Settings, place: str) -> bool:
    """Write the sample city into the centre's database, or its institutions into this front-end's; False when done."""
    city = sample_city()
    settings.need(*(("center_database_url",) if place == "center" else ("frontend", "frontend_database_url")))
    engine = open_database(settings.center_database_url if place == "center" else settings.frontend_database_url)
    try:
        if place == "center":
            return seed_center(engine, city, policies_dir=settings.policies_dir)
        keys = make_api_keys(settings.data_dir / FOLDER / "secrets", city)
        return seed_frontend(engine, city, settings.frontend, policies_dir=settings.policies_dir, api_keys=keys)
    finally:
        engine.dispose()


def _kept(path: Path, new: str) -> str:
    """What the secret file holds; the new text if there was no file."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(new, encoding="ascii")
    return path.read_text(encoding="ascii")


def _publish(connection: Connection, city: City, matches: Sequence[Match], policies_dir: Path) -> None:
    """The catalogue as it would stand after years of work: entered, audited, and published in its first version."""
    levels = {one.institution_code: one.level for one in city.institutions}
    made = in_parts(CATALOGUE_VERSION, city.item_records, matches, levels)
    at = datetime.combine(FAIR_DAY, time(), SHANGHAI)
    enter_standing(connection, city.item_records, matches, by="seed", auditor="seed (audit)", at=at)
    connection.execute(insert(center.catalogue.tables.reference_part), _parts(made))
    policy = _policy(policies_dir)
    _refuse_no_law(policy, FAIR_DAY)
    connection.execute(insert(center.tables.reference), [catalogue_row(made.manifest), policy])


def _parts(made: Publication) -> list[dict[str, object]]:
    return [{"digest": digest, "content": content} for digest, content in made.parts.items()]


def _policy(policies_dir: Path) -> dict[str, object]:
    return policy_row((policies_dir / POLICY_FILE).read_text(encoding="utf-8"))


def _refuse_no_law(policy: Mapping[str, Any], day: date) -> None:
    report = review(policy["content"].decode(), today=day)
    if report.policy is None:
        raise PolicyRefused(report.findings)
    if report.warnings:
        codes = sorted({finding.code for finding in report.warnings})
        log.info(
            "policy_warnings", extra={"policy": policy["version"], "warnings": len(report.warnings), "codes": codes}
        )


def _holds(connection: Connection, table: Table) -> bool:
    return bool(connection.execute(select(func.count()).select_from(table)).scalar())
