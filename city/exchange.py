"""The shared tables of the sample city: its second hospital's HIS works with them."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import psycopg
from sqlalchemy import Engine, select, update
from sqlalchemy.engine import make_url

from producers.his.tables.place import OWN, TABLES
from producers.his.tables.postgres_site import Tenant, admit, make_tables, tenants
from producers.his.tables.sqlite import make_file
from workers.tables import institution

DATABASE = "exchange"
"""Of the embedded server: a database of their own, so that no HIS login sees a table of ours."""
LOGINS = "his_logins.json"


def open_tables(engine: Engine, url: str, secrets_dir: Path) -> dict[str, str]:
    """Give every institution of this front-end its shared tables; the password of each login, where there are logins.

    Done again it changes nothing.
    """
    with engine.begin() as connection:
        rows = connection.execute(select(institution.c.institution_code, institution.c.short_code)).all()
        connection.execute(update(institution).values(exchange=TABLES))
    served = [Tenant(row.institution_code, row.short_code) for row in rows]
    if url.startswith("sqlite"):
        for tenant in served:
            make_file(url.replace(OWN, tenant.institution_code), tenant.institution_code, tenant.short_code, ())
        return {}
    passwords = _passwords(secrets_dir / LOGINS, served)
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection_:
        make_tables(connection_)
        if connection_.execute("SELECT FROM pg_database WHERE datname = 'center'").fetchone() is not None:
            # The centre's database is the neighbour on this server: no HIS login has any business there.
            connection_.execute("REVOKE CONNECT ON DATABASE center FROM PUBLIC")
        there = tenants(connection_)
        for tenant in served:
            if tenant not in there:
                admit(connection_, tenant, passwords[tenant.login])
    return passwords


def his_address(url: str, secrets_dir: Path, institution_code: str) -> str:
    """The exchange database as an institution's HIS opens it: by its own login."""
    login = Tenant(institution_code, "").login
    password = json.loads((secrets_dir / LOGINS).read_text(encoding="ascii"))[login]
    of_his = make_url(url).set(drivername="postgresql", username=login, password=password)
    return of_his.render_as_string(hide_password=False)


def _passwords(file: Path, served: list[Tenant]) -> dict[str, str]:
    """The sample city's passwords, made when they are missing, in a file that only its owner can read."""
    kept: dict[str, str] = json.loads(file.read_text(encoding="ascii")) if file.exists() else {}
    made = {tenant.login: kept.get(tenant.login) or secrets.token_urlsafe(18) for tenant in served}
    if made != kept:
        file.touch(mode=0o600)
        file.write_text(json.dumps(made, indent=2), encoding="ascii")
    return made
