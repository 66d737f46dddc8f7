"""Makes the passwords and keys that docker-compose.yml reads, in ./secrets: `make secrets`."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

from infra import broker_rights
from infra.broker_rights import user_line
from infra.envelope import frontend_key

OWNER = 999  # the user of every container
FRONTENDS = ("hospital", "hospital-b", "shared")
WITH_TABLES = "hospital-b"
"""The front-end whose institution has shared tables, on a PostgreSQL of its own."""


def contents() -> dict[str, str]:
    """New secrets for one city: the files docker-compose.yml names, and what each holds."""
    center_secret = secrets.token_bytes(32)
    database, application, exchange = (secrets.token_urlsafe(24) for _ in range(3))
    broker = {site: secrets.token_urlsafe(24) for site in ("center", *FRONTENDS)}
    broker_url = {site: f"redis://{site}:{password}@broker:6379/0" for site, password in broker.items()}

    files = {
        "center_secret": center_secret.hex(),
        "db_password": database,
        "exchange_db_password": exchange,
        "broker_acl": "user default off\n"
        + "".join(f"{user_line(site, password, _rights_of(site))}\n" for site, password in broker.items()),
        "center.env": f"JIESUAN_CENTER_DATABASE_URL=postgresql://center:{application}@db/center\n"
        f"JIESUAN_CENTER_BROKER_URL={broker_url['center']}\n",
        # Migrations own the tables; nobody else has this file, and the application's login is made by it.
        "center-owner.env": f"JIESUAN_CENTER_OWNER_DATABASE_URL=postgresql://jiesuan:{database}@db/center\n"
        f"JIESUAN_CENTER_DATABASE_URL=postgresql://center:{application}@db/center\n",
    }
    for frontend in FRONTENDS:
        files[f"{frontend}_key"] = frontend_key(center_secret, frontend).hex()
        files[f"{frontend}.env"] = f"JIESUAN_CENTER_BROKER_URL={broker_url[frontend]}\n"
    address = f"postgresql://jiesuan:{exchange}@exchange-db/exchange"
    files[f"{WITH_TABLES}.env"] += f"JIESUAN_EXCHANGE_DATABASE_URL={address}\n"
    return files


def _rights_of(site: str) -> str:
    return broker_rights.CENTER if site == "center" else broker_rights.frontend(site)


def main() -> int:
    """Write them, unless there are some already: a running city must keep its own."""
    folder = Path("secrets")
    if folder.exists():
        print(f"{folder}/ is there already and stays as it is; remove it to make new secrets", file=sys.stderr)
        return 1
    folder.mkdir(mode=0o700)
    for name, text in contents().items():
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="ascii")
        if os.geteuid() == 0:
            os.chown(path, OWNER, OWNER)
    print(f"made {folder}/")
    if os.geteuid() != 0:
        print(f"the containers' user has to own them: sudo chown -R {OWNER}:{OWNER} {folder}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
