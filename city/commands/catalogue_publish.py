"""`jiesuan catalogue publish`: what stands becomes a version with its day."""

from __future__ import annotations

from datetime import timedelta

from center.catalogue import entries as catalogue_entries
from center.catalogue import versions as catalogue_versions
from center.catalogue.versions import CannotPublish, Content, NoSuchVersion
from city.commands import WRONG_USAGE, Stop
from city.commands.catalogue_diff import document, tell
from city.commands.catalogue_office import at_the_centre, day_of, operator, print_json


def publish(effective: str, *, version: str, note: str, dry_run: bool, by: str, as_json: bool) -> None:
    """Publish, or show what publishing would change. Raises Stop."""
    with at_the_centre() as (connection, at):
        waiting = sum(one.waiting for one in catalogue_entries.waiting(connection))
        if dry_run:
            before = catalogue_versions.newest(connection)
            held = catalogue_versions.content_of(connection, before) if before else Content((), ())
            found = catalogue_versions.difference(held, catalogue_versions.draft(connection))
            if as_json:
                print_json({"published": None, "waiting": waiting, **document(found)})
            else:
                tell(found)
            return
        day = day_of(effective, at.date() + timedelta(days=1))
        try:
            made = catalogue_versions.publish(
                connection, effective_date=day, by=operator(by), at=at, version=version.strip(), note=note.strip()
            )
        except CannotPublish as error:
            raise Stop(str(error)) from None
    if as_json:
        print_json(
            {
                "published": made.version,
                "effective_date": made.effective_date.isoformat(),
                "digest": made.digest.hex(),
                "in_force": made.in_force,
                "items": made.items,
                "matches": made.matches,
                "waiting": waiting,
                **document(made.difference),
            }
        )
        return
    tell(made.difference)
    state = "已生效" if made.in_force else f"{made.effective_date} 零时生效"
    print(f"已发布版本 {made.version}：目录 {made.items} 条，对应 {made.matches} 条，{state}；摘要 {made.digest.hex()}")
    print("前置机会自动下载；用 jiesuan catalogue show 查看各前置机是否已有此版本。")
    if waiting:
        print(f"另有 {waiting} 条等待审核，未包括在内")


def withdraw(version: str, *, note: str, by: str, as_json: bool) -> None:
    """Take back a version whose day has not come. Raises Stop."""
    with at_the_centre() as (connection, at):
        try:
            catalogue_versions.withdraw(connection, version, by=operator(by), at=at, note=note)
        except NoSuchVersion as error:
            raise Stop(str(error), WRONG_USAGE) from None
        except CannotPublish as error:
            raise Stop(str(error)) from None
    if as_json:
        print_json({"withdrawn": version})
    else:
        print(f"版本 {version} 已撤回，不会生效")
