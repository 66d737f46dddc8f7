"""`jiesuan policy publish`: a file that is sound becomes the policy of the centre, from a day on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from rich.console import Console

from center.policy import publications as policy_publications
from center.policy.publications import CannotPublish, PolicyRefused
from city.commands import REFUSED, WRONG_USAGE, Stop
from city.commands.catalogue_office import at_the_centre, day_of, operator, print_json, print_table
from city.commands.policy_check import seen, tell
from city.commands.policy_files import found
from domain.policy.findings import Finding


def publish(name: str, effective: str, *, note: str, dry_run: bool, by: str, as_json: bool) -> None:
    """Publish the file, or with `dry_run` only say whether it could be. Raises Stop."""
    (file,) = found([name])
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise Stop(f"政策文件 {file.name} 不是 UTF-8 文本") from None
    with at_the_centre() as (connection, at):
        day = day_of(effective, at.date() + timedelta(days=1))
        try:
            if dry_run:
                policy, warnings = policy_publications.reviewed(connection, text, effective_date=day, at=at)
                version, replaces, in_force = policy.version, "", False
            else:
                made = policy_publications.publish(
                    connection, text, effective_date=day, by=operator(by), at=at, note=note.strip()
                )
                version, replaces, in_force, warnings = made.version, made.replaces, made.in_force, made.warnings
        except PolicyRefused as refused:
            _print_findings(file, refused.findings, as_json=as_json)
            raise Stop(f"{len(refused.errors)} 处错误，未发布", REFUSED) from None
        except CannotPublish as error:
            raise Stop(str(error), REFUSED) from None
    if as_json:
        print_json(
            {
                "published": None if dry_run else version,
                "version": version,
                "effective_date": day.isoformat(),
                "in_force": in_force,
                "replaces": replaces,
                "findings": [seen(file, finding) for finding in warnings],
            }
        )
        return
    _print_findings(file, warnings, as_json=False)
    if dry_run:
        print(f"可以发布：{version}，{day} 零时生效")
        return
    state = "已生效" if in_force else f"{day} 零时生效"
    print(f"已发布政策 {version}，{state}" + (f"，取代 {replaces}" if replaces else ""))


def withdraw(version: str, *, note: str, by: str, as_json: bool) -> None:
    """Take back a set whose day has not come. Raises Stop."""
    with at_the_centre() as (connection, at):
        try:
            policy_publications.withdraw(connection, version, by=operator(by), at=at, note=note)
        except CannotPublish as error:
            raise Stop(str(error), WRONG_USAGE) from None
    if as_json:
        print_json({"withdrawn": version})
    else:
        print(f"版本 {version} 已撤回，不会生效")


def listed(*, as_json: bool) -> None:
    """Every policy set of this centre: what is in force, what will be, what was."""
    with at_the_centre() as (connection, at):
        rows = policy_publications.history(connection, at.date())
    if as_json:
        print_json({"policies": [row._asdict() | {"effective_date": str(row.effective_date or "")} for row in rows]})
        return
    headings = ["版本", "状态", "生效日", "发布人", "说明"]
    print_table("政策", headings, [[row.version, _STATES[row.state], *row[2:]] for row in rows])


_STATES = {"in force": "生效", "ahead": "待生效", "withdrawn": "已撤回", "over": "已被取代"}


def _print_findings(file: Path, findings: Iterable[Finding], *, as_json: bool) -> None:
    if as_json:
        print_json({"published": None, "findings": [seen(file, finding) for finding in findings]})
        return
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for finding in findings:
        tell(finding, console)
