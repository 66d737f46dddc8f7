"""`jiesuan tenant show`: what each institution has of its front-end, as it was measured; or its terms at the centre."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from city.commands import REFUSED, Stop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.tenants import Tenant

AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]


def show(
    code: Annotated[str, typer.Argument(help="医药机构编号 Institution code; left out: all of them.")] = "",
    as_json: AsJson = False,
) -> None:
    """查看 At a front-end: the shares, weights and limits of its institutions. At the centre: their terms."""
    from infra.settings import Settings

    if Settings().frontend_database_url:
        _show_shares(code, as_json)
    else:
        _show_terms(code, as_json)


def _show_shares(code: str, as_json: bool) -> None:
    from city.commands.catalogue_office import print_json, print_table
    from infra.database import opened, reading
    from infra.settings import Settings
    from workers import tenants

    settings = Settings()
    with opened(settings.frontend_database_url) as engine, reading(engine) as connection:
        now = settings.time.seconds()
        found = [one for one in tenants.tenants(connection, now=now) if code in ("", one.institution_code)]
        changes = tenants.changes_of(connection, code)
    if code and not found:
        raise Stop(f"本前置机没有医药机构 {code}", REFUSED)
    if as_json:
        print_json(
            {"tenants": [_share_document(one) for one in found], "changes": [_change_document(c) for c in changes]}
        )
        return
    print_table(
        "接入机构（最近半分钟）",
        ["机构", "名称", "权重", "现行", "处理时间", "应得", "在途", "在途占比", "每秒", "突发", "待处理上限", "状态"],
        [
            [
                one.institution_code,
                one.name,
                one.weight,
                f"{float(one.effective_weight):g}",
                f"{float(one.share):.1%}",
                f"{float(one.fair):.1%}",
                one.in_flight,
                f"{float(one.in_flight_share):.1%}",
                one.rate_per_second or "不限",
                one.burst or "",
                one.backlog_cap,
                _standing_words(one),
            ]
            for one in found
        ],
    )
    for change in changes:
        step = "降低" if change.lowered_to > change.lowered_from else "恢复"
        print(
            f"{change.at:%m-%d %H:%M:%S} {change.institution_code} 权重{step}：减半次数 {change.lowered_from} → "
            f"{change.lowered_to}（处理时间 {float(change.share):.1%}，在途 {change.in_flight} 笔）"
        )


def held_back(one: Tenant) -> str:
    """In Chinese, that an institution is held back as noisy; empty where it is not."""
    if not one.lowered:
        return ""
    return (
        f"{one.institution_code} 权重由 {one.weight} 降为 {float(one.effective_weight):g}"
        f"（处理时间 {float(one.share):.1%}，应得 {float(one.fair):.1%}，在途 {one.in_flight} 笔）"
    )


def _show_terms(code: str, as_json: bool) -> None:
    from sqlalchemy import select

    from center.serving.tables import served_by
    from center.tables import institution
    from city.commands.catalogue_office import at_the_centre, print_json
    from domain.terms import CHECKS

    query = (
        select(
            institution.c.institution_code,
            served_by.c.frontend,
            served_by.c.connection,
            served_by.c.standing,
            *(institution.c[name] for name in CHECKS),
            institution.c.terms_version,
        )
        .join(served_by, served_by.c.institution_code == institution.c.institution_code)
        .where(served_by.c.until.is_(None))
        .order_by(served_by.c.frontend, institution.c.institution_code)
    )
    with at_the_centre() as (connection, _):
        rows = connection.execute(query.where(institution.c.institution_code == code) if code else query).all()
    if code and not rows:
        raise Stop(f"没有医药机构 {code}", REFUSED)
    if as_json:
        print_json([dict(row._mapping) for row in rows])
    elif code:
        _print_one(rows)
    else:
        _print_all(rows)


def _print_one(rows: Sequence[Any]) -> None:
    """Every term of one institution, and who serves it."""
    from city.commands.tenant_terms import in_words
    from domain.terms import CHECKS

    one = rows[0]
    print(f"{one.institution_code} {one.name}，条款版本 {one.terms_version}")
    for row in rows:
        print(f"  由前置机 {row.frontend}（{_connection_word(row)}）接入：{_standing_words(row)}")
    for name, (word, _) in CHECKS.items():
        print(f"  {word}：{in_words(getattr(one, name))}")


def _print_all(rows: Sequence[Any]) -> None:
    from city.commands.catalogue_office import print_table

    print_table(
        "接入条款",
        ["机构", "名称", "前置机", "接入", "权重", "每秒", "结算方式", "状态"],
        [
            [
                row.institution_code,
                row.name,
                row.frontend,
                _connection_word(row),
                row.weight,
                row.rate_per_second or "不限",
                row.way,
                _standing_words(row),
            ]
            for row in rows
        ],
    )


def _connection_word(row: Any) -> str:
    from domain.terms import CONNECTION_WORDS, Connection

    return CONNECTION_WORDS[Connection(row.connection)]


def _standing_words(of: Any) -> str:
    """Of an institution's terms, or of its row at a front-end."""
    from domain.terms import STANDING_WORDS, Standing

    if not getattr(of, "active", True):
        return "停用"
    return f"暂停受理：{of.suspended}" if of.suspended else STANDING_WORDS[Standing(of.standing)]


def _share_document(one: Any) -> dict[str, Any]:
    return {
        "institution_code": one.institution_code,
        "name": one.name,
        "weight": one.weight,
        "effective_weight": float(one.effective_weight),
        "lowered": one.lowered,
        "busy_share": round(float(one.share), 4),
        "fair_share": round(float(one.fair), 4),
        "in_flight": one.in_flight,
        "in_flight_share": round(float(one.in_flight_share), 4),
        "claims": one.claims,
        "rate_per_second": one.rate_per_second,
        "burst": one.burst,
        "backlog_cap": one.backlog_cap,
        "suspended": one.suspended,
        "standing": one.standing,
    }


def _change_document(change: Any) -> dict[str, Any]:
    return {
        "institution_code": change.institution_code,
        "at": change.at.isoformat(),
        "lowered_from": change.lowered_from,
        "lowered_to": change.lowered_to,
        "busy_share": round(float(change.share), 3),
        "in_flight": change.in_flight,
    }
