"""Clearing = Σ days: what a standing clearing took over, against the days it covers, its layers and its postings."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import psycopg

from center.conservation.days import DayKey
from center.conservation.documents import Scope
from center.conservation.findings import Finding, Flow, Level
from domain import ledger

PARTS = """
SELECT c.institution_code, c.scheme, c.clearing_type, c.clearing_no, broken.subject, broken.expected::bigint,
       broken.found::bigint
FROM clearing c
LEFT JOIN LATERAL (SELECT sum(documents) AS documents, sum(total_fen) AS total, sum(fund_fen) AS fund,
    sum(account_fen) AS account FROM clearing_day d WHERE d.clearing_no = c.clearing_no) AS days ON true
LEFT JOIN LATERAL (SELECT sum(fund_fen) AS fund, sum(withheld_fen) AS withheld, sum(deducted_fen) AS deducted,
    sum(released_fen) AS released FROM clearing_layer l WHERE l.clearing_no = c.clearing_no) AS layers ON true
LEFT JOIN LATERAL (SELECT
    sum(amount_fen) FILTER (WHERE account = concat_ws(':', 'payable', c.institution_code, c.scheme, c.clearing_type))
        AS payable,
    sum(amount_fen) FILTER (WHERE account = concat_ws(':', 'cleared', c.institution_code, c.scheme, c.clearing_type))
        AS cleared,
    sum(amount_fen) FILTER (WHERE account = concat_ws(':', 'withheld', c.institution_code, c.scheme, c.clearing_type))
        AS withheld
    FROM posting p WHERE p.document_no = c.clearing_no) AS posted ON true
CROSS JOIN LATERAL (VALUES
    ('days documents', coalesce(days.documents, 0), c.documents::bigint),
    ('days total_fen', coalesce(days.total, 0), c.total_fen),
    ('days fund_fen', coalesce(days.fund, 0), c.fund_fen),
    ('days account_fen', coalesce(days.account, 0), c.account_fen),
    ('layers fund_fen', coalesce(layers.fund, 0), c.fund_fen),
    ('layers withheld_fen', coalesce(layers.withheld, 0), c.withheld_fen),
    ('layers deducted_fen', coalesce(layers.deducted, 0), c.deducted_fen),
    ('layers released_fen', coalesce(layers.released, 0), c.released_fen),
    ('payable', c.fund_fen + c.account_fen, coalesce(posted.payable, 0)),
    ('cleared', c.withheld_fen - c.fund_fen - c.account_fen, coalesce(posted.cleared, 0)),
    ('withheld', -c.withheld_fen, coalesce(posted.withheld, 0))) AS broken (subject, expected, found)
WHERE {scope} AND broken.expected <> broken.found ORDER BY c.clearing_no LIMIT %(most)s
"""

STANDING = """
SELECT c.institution_code, c.scheme, c.clearing_type, c.since_day, c.last_day, c.link_no, c.clearing_no
FROM clearing c JOIN clearing_period p ON p.clearing_no = c.clearing_no WHERE {scope}
"""

DAYS = f"""
WITH standing AS ({STANDING}),
summed AS (
    SELECT clearing_no, s.day, sum(s.documents) AS documents, sum(s.total_fen) AS total,
           sum(s.fund_pay_fen) AS fund, sum(s.account_pay_fen) AS account
    FROM standing c JOIN day_sum s USING (institution_code, scheme, clearing_type)
    WHERE s.day > coalesce(c.since_day, '-infinity') AND s.day <= c.last_day GROUP BY clearing_no, s.day),
cleared AS (
    SELECT c.clearing_no, d.day, sum(d.documents) AS documents, sum(d.total_fen) AS total, sum(d.fund_fen) AS fund,
           sum(d.account_fen) AS account
    FROM standing c JOIN clearing o USING (institution_code, scheme, clearing_type)
    JOIN clearing_period p ON p.clearing_no = o.clearing_no JOIN clearing_day d ON d.clearing_no = o.clearing_no
    WHERE d.day > coalesce(c.since_day, '-infinity') AND d.day <= c.last_day GROUP BY c.clearing_no, d.day)
SELECT institution_code, scheme, clearing_type, clearing_no, c.link_no, day,
       ARRAY[coalesce(s.documents, 0), coalesce(s.total, 0), coalesce(s.fund, 0), coalesce(s.account, 0)]::bigint[],
       ARRAY[coalesce(d.documents, 0), coalesce(d.total, 0), coalesce(d.fund, 0), coalesce(d.account, 0)]::bigint[]
FROM summed s FULL JOIN cleared d USING (clearing_no, day) JOIN standing c USING (clearing_no)
WHERE (s.documents, s.total, s.fund, s.account) IS DISTINCT FROM (d.documents, d.total, d.fund, d.account)
ORDER BY clearing_no, day LIMIT %(most)s
"""

LATE = """
SELECT ARRAY[count(*), coalesce(sum(total_fen), 0), coalesce(sum(fund_pay_fen), 0), coalesce(sum(account_pay_fen), 0)]
    ::bigint[]
FROM settlement s WHERE (institution_code, scheme, clearing_type, settled_day) = (%s, %s, %s, %s)
AND settlement_no IN (SELECT unnest(documents) FROM chain_link
    WHERE institution_code = %s AND link_no > %s AND kind = 'ledger')
AND NOT EXISTS (SELECT FROM clearing_member m JOIN clearing_period p USING (clearing_no)
    WHERE m.document_no = s.settlement_no)
"""
"""What came to a day after its clearing had closed, and waits for the next one."""

LAYERS = """
WITH members AS (
    SELECT c.clearing_no, s.settlement_no, c.scheme
    FROM clearing c JOIN settlement s USING (institution_code, scheme, clearing_type)
    LEFT JOIN clearing_member m ON m.document_no = s.settlement_no
        AND EXISTS (SELECT FROM clearing_period p WHERE p.clearing_no = m.clearing_no)
    WHERE {scope} AND EXISTS (SELECT FROM clearing_period p WHERE p.clearing_no = c.clearing_no)
    AND (m.clearing_no = c.clearing_no OR (m.clearing_no IS NULL AND s.settled_day <= c.last_day
        AND s.settled_day > coalesce(c.since_day, '-infinity')))),
posted AS (
    SELECT m.clearing_no, split_part(p.account, ':', 3) AS layer, sum(p.amount_fen) AS fen
    FROM members m JOIN posting p ON p.document_no = m.settlement_no
    WHERE starts_with(p.account, 'fund:' || m.scheme || ':') GROUP BY m.clearing_no, layer),
layers AS (
    SELECT l.clearing_no, l.layer, l.fund_fen FROM clearing_layer l JOIN clearing c USING (clearing_no)
    WHERE {scope} AND EXISTS (SELECT FROM clearing_period p WHERE p.clearing_no = c.clearing_no))
SELECT c.institution_code, c.scheme, c.clearing_type, clearing_no, c.link_no, c.since_day, c.last_day, layer,
       coalesce(posted.fen, 0)::bigint, coalesce(layers.fund_fen, 0)::bigint
FROM posted FULL JOIN layers USING (clearing_no, layer) JOIN clearing c USING (clearing_no)
WHERE coalesce(posted.fen, 0) <> coalesce(layers.fund_fen, 0) ORDER BY clearing_no, layer LIMIT %(most)s
"""
"""What each fund pays of a clearing, against the postings of the settlements in it."""

LATE_OF_LAYER = """
SELECT coalesce(sum(p.amount_fen), 0)::bigint FROM settlement s JOIN posting p ON p.document_no = s.settlement_no
WHERE (s.institution_code, s.scheme, s.clearing_type) = (%s, %s, %s) AND p.account = %s
AND s.settled_day > coalesce(%s::date, '-infinity') AND s.settled_day <= %s
AND s.settlement_no IN (SELECT unnest(documents) FROM chain_link
    WHERE institution_code = %s AND link_no > %s AND kind = 'ledger')
AND NOT EXISTS (SELECT FROM clearing_member m JOIN clearing_period p USING (clearing_no)
    WHERE m.document_no = s.settlement_no)
"""

_SUBJECTS = ("documents", "total_fen", "fund_fen", "account_fen")


class Looked(NamedTuple):
    """How many clearings were looked at, and what they took over."""

    clearings: int
    sum_fen: int


def broken_clearings(cursor: psycopg.Cursor[Any], scope: Scope) -> Iterator[Finding]:
    """Clearings of the scope that are not their days, their layers, or their postings."""
    cursor.execute(PARTS.format(scope=scope.where("c.clearing_no", "c.institution_code")), scope.values)
    for institution_code, scheme, clearing_type, number, subject, expected, found in cursor.fetchall():
        flow = Flow(institution_code, scheme, clearing_type)
        code = "clearing-count" if subject == "days documents" else "clearing-parts"
        yield Finding(Level.CLEARING, code, flow, expected, found, number, subject=subject)


def broken_layers(cursor: psycopg.Cursor[Any], scope: Scope) -> Iterator[Finding]:
    """Standing clearings of the scope that take another sum out of a fund than their settlements posted."""
    cursor.execute(LAYERS.format(scope=scope.where("c.clearing_no", "c.institution_code")), scope.values)
    for (
        institution_code,
        scheme,
        clearing_type,
        number,
        link_no,
        since,
        last,
        layer,
        posted,
        found,
    ) in cursor.fetchall():
        flow = Flow(institution_code, scheme, clearing_type)
        account = ledger.fund(scheme, layer)
        cursor.execute(LATE_OF_LAYER, [*flow, account, since, last, institution_code, link_no])
        expected = posted - cursor.fetchall()[0][0]
        if expected != found:
            yield Finding(Level.FUND, "fund-layer", flow, expected, found, number, subject=account)


def broken_days(cursor: psycopg.Cursor[Any], scope: Scope, touched: Collection[DayKey] = ()) -> Iterator[Finding]:
    """Days that do not add up to the standing clearings over them.

    Looked at are the clearings of the scope, and those over a day that was touched now.
    """
    condition = scope.where("c.clearing_no", "c.institution_code")
    values = dict(scope.values)
    if touched:
        condition = (
            f"({condition} OR EXISTS (SELECT FROM unnest(%(codes)s::text[], %(schemes)s::text[], %(types)s::text[],"
            " %(days)s::date[]) AS t (code, scheme, type, day) WHERE (t.code, t.scheme, t.type)"
            " = (c.institution_code, c.scheme, c.clearing_type) AND t.day <= c.last_day"
            " AND t.day > coalesce(c.since_day, '-infinity')))"
        )
        columns = list(zip(*touched, strict=True))
        values |= {name: list(columns[at]) for at, name in enumerate(("codes", "schemes", "types", "days"))}
    cursor.execute(DAYS.format(scope=condition), values)
    for institution_code, scheme, clearing_type, number, link_no, day, summed, cleared in cursor.fetchall():
        flow = Flow(institution_code, scheme, clearing_type)
        cursor.execute(LATE, [*flow, day, institution_code, link_no])
        late = cursor.fetchall()[0][0]
        for name, should, is_, waits in zip(_SUBJECTS, summed, cleared, late, strict=True):
            if should - waits != is_:
                code = "clearing-count" if name == "documents" else "clearing-days"
                yield Finding(Level.CLEARING, code, flow, should - waits, is_, number, day=day, subject=name)
                break


def looked_at(cursor: psycopg.Cursor[Any], scope: Scope) -> Looked:
    """How many clearings there are in the scope, and what they come to."""
    cursor.execute(
        "SELECT count(*), coalesce(sum(fund_fen + account_fen), 0)::bigint FROM clearing c WHERE "
        + scope.where("c.clearing_no", "c.institution_code"),
        scope.values,
    )
    return Looked(*cursor.fetchall()[0])
