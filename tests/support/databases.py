"""Databases of a running PostgreSQL, made for a test and dropped."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from infra.supervisor import Service


def quick(service: Service, *settings: str) -> Service:
    """The server for a run after which nobody needs it: no disk is waited for, and logging in costs a third less."""
    usual = ("--fsync=off", "--full_page_writes=off", "--scram_iterations=1")
    return replace(service, argv=[*service.argv, *usual, *settings])


def log_in_quickly(server_url: str) -> None:
    """Keep the password of the owner anew; those a quick server is told later are quick anyhow."""
    owner = make_url(server_url)
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(str(owner.username)), str(owner.password))
        )


def as_application(url: str) -> str:
    """The address of the same database for the application's login."""
    return make_url(url).set(username="center", password="centers-word").render_as_string(hide_password=False)


class FreshDatabase:
    """Makes a database from a template, and drops it."""

    def __init__(self, server_url: str, template: str) -> None:
        self._server_url, self._template = server_url, template
        self._name = f"test_{uuid4().hex[:12]}"

    def __enter__(self) -> str:
        self._run("CREATE DATABASE {} TEMPLATE {}", self._name, self._template)
        return self._server_url.rsplit("/", 1)[0] + f"/{self._name}"

    def __exit__(self, *_: object) -> None:
        self._run("DROP DATABASE {} WITH (FORCE)", self._name)

    def _run(self, statement: str, *names: str) -> None:
        with psycopg.connect(self._server_url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
