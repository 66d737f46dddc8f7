"""Deployed HIS products, unchanged, on the shared tables: the SQL they run, in their own way, through their own login.

Two independent products speak these tables. Neither filters by institution, both write rows without a column list and
read them by position. What differs is told at each of them.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from infra.embedded import postgres
from infra.supervisor import Supervisor
from producers.his.tables.postgres_site import Tenant
from tests.support.databases import quick
from tests.support.exchange import his, insurance, make_exchange
from tests.support.frontend import CLINIC, DAY, HOSPITAL, NOON, PERSON, new_frontend, short_code
from tests.support.tables_world import TablesWorld, flags
from tests.support.visits import ADMITTED, outpatient, registration
from workers.visits import NotReady, Settling

PRODUCT_A = Tenant(HOSPITAL, short_code(HOSPITAL), ("gwyjb",))
PRODUCT_B = Tenant(CLINIC, short_code(CLINIC))
PASSED, FROZEN = (1, "00"), "明细已读入医保系统"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("postgres")
    with Supervisor(folder / "data", say=lambda line: None) as supervisor:
        database = postgres.prepare(folder / "database", port=0, databases=["postgres"])
        supervisor.start(quick(database.service))
        yield database.url


@pytest.fixture
def url(server):
    name = f"exchange_{uuid4().hex[:8]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    address = server.rsplit("/", 1)[0] + f"/{name}"
    make_exchange(address, PRODUCT_A, PRODUCT_B)
    yield address
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def world(url, tmp_path):
    world = TablesWorld(new_frontend(f"sqlite:///{tmp_path}/frontend.db"), url, HOSPITAL, CLINIC)
    yield world
    world.close()


class ProductA:
    """Every statement its own transaction. Knows the civil-servant grade; next line number is the highest and one;
    takes any one unread result and then marks every row of the visit read."""

    def __init__(self, url: str) -> None:
        self.connection = his(url, PRODUCT_A)

    def run(self, statement: str) -> psycopg.Cursor:
        return self.connection.execute(statement)

    def new_visits(self) -> list[dict[str, object]]:
        """By position, 21 columns: GWYJB stands behind RYLB."""
        rows = self.run("SELECT * FROM HIS_ZYDJ WHERE DRBZ = 0").fetchall()
        found = []
        for row in rows:
            assert len(row) == 21
            found.append({"no": row[0], "yybh": row[1], "person": row[2], "name": row[3], "grade": row[8],
                          "zyh": row[9], "kind": row[10], "admitted": row[11]})  # fmt: skip
            self.run(f"UPDATE HIS_ZYDJ SET DRBZ = '1', BZ2 = 'HIS已读' WHERE JYDJH = '{row[0]}'")
        return found

    def charge(self, visit: dict[str, object], day: str, item: str, *numbers: str) -> None:
        price, quantity, amount = numbers
        number = self.run(f"SELECT COALESCE(MAX(XMXH), 0) + 1 FROM HIS_CFXM WHERE JYDJH = '{visit['no']}'").fetchone()[
            0
        ]
        self.run(
            f"INSERT INTO HIS_CFXM VALUES ('{visit['no']}', '{visit['yybh']}', '{visit['person']}', '{visit['zyh']}', "
            f"'{visit['admitted']}', '{day} 00:00:00', '{number}', '{item}', '{'药品名称' * 5}', '000', '0.25g*24', "
            f"'胶囊', '{price}', '{quantity}', '{amount}', '', '', '', '0', '1')"
        )
        self.run(
            f"INSERT INTO HIS_CFXM_JKSYBZ VALUES ('{visit['no']}', '{visit['yybh']}', '{visit['person']}', "
            f"'{visit['zyh']}', '{number}', '{item}', '药品', '{quantity}', '{amount}', '1', '', '', '', '限二线用药')"
        )

    def recall(self, visit_no: str) -> None:
        """Delete all lines of the visit; the caller enters them anew."""
        self.run(f"DELETE FROM HIS_CFXM WHERE JYDJH = '{visit_no}'")

    def result(self, visit_no: str) -> tuple[object, ...] | None:
        """Any one unread row, by position; then every row of the visit is marked."""
        row = self.run(f"SELECT * FROM HIS_FYJS WHERE JYDJH = '{visit_no}' AND DRBZ = 0").fetchone()
        self.run(f"UPDATE HIS_FYJS SET DRBZ = 1 WHERE JYDJH = '{visit_no}'")
        return row

    def lines(self, visit_no: str) -> list[tuple[int, str | None]]:
        found = self.run(f"SELECT DRBZ, BZ3 FROM HIS_CFXM WHERE JYDJH = '{visit_no}' ORDER BY XMXH, BZ1 NULLS LAST")
        return flags(found.fetchall())


class ProductB:
    """One transaction for all it has to do, however long that takes. Takes its institution's number from the visit
    number; next line number is how many there are and one; reads the highest batch and never writes a flag."""

    def __init__(self, url: str) -> None:
        self.connection = his(url, PRODUCT_B, autocommit=False)

    def run(self, statement: str) -> psycopg.Cursor:
        return self.connection.execute(statement)

    def commit(self) -> None:
        self.connection.commit()

    def visits(self) -> list[tuple[object, ...]]:
        """The newest first."""
        return self.run("SELECT * FROM HIS_MZDJ ORDER BY JYDJH DESC").fetchall()

    def charge(self, visit: tuple[object, ...], item: str, price: str, quantity: str) -> int:
        visit_no = str(visit[0])
        number = int(self.run(f"SELECT COUNT(*) + 1 FROM HIS_MZXM WHERE JYDJH = '{visit_no}'").fetchone()[0])
        amount = Decimal(price) * Decimal(quantity)  # as it comes, not rounded
        self.run(
            f"INSERT INTO HIS_MZXM VALUES ('{visit_no}', '{visit_no[:6]}', '{visit[2]}', '{visit[8]}', "
            f"'{visit[10]:%Y/%m/%d}', '{visit[10]:%Y%m%d}', {number}, '{item}', '阿莫西林胶囊', 0, NULL, NULL, "
            f"{price}, {quantity}, {amount}, NULL, NULL, NULL, 0, NULL)"
        )
        return number

    def result(self, visit_no: str) -> tuple[object, ...] | None:
        return self.run(
            f"SELECT * FROM HIS_MZJS WHERE JYDJH = '{visit_no}' "
            f"AND FYPC = (SELECT MAX(FYPC) FROM HIS_MZJS WHERE JYDJH = '{visit_no}')"
        ).fetchone()

    def lines(self, visit_no: str) -> list[tuple[int, str | None]]:
        found = self.run(f"SELECT DRBZ, BZ3 FROM HIS_MZXM WHERE JYDJH = '{visit_no}' ORDER BY XMXH, BZ1 NULLS LAST")
        return flags(found.fetchall())


@pytest.fixture
def product_a(url):
    product = ProductA(url)
    yield product
    product.connection.close()


@pytest.fixture
def product_b(url):
    product = ProductB(url)
    yield product
    product.connection.close()


def amounts(row):
    """ZYZJE, SBZFJE, GRZFJE1, GRZFJE2, GRZFJE3, YYFDJE of a result read by position."""
    return row[7], row[8], row[12], row[13], row[14], row[17]


# ── Product A: an inpatient stay ──────────────────────────────────────────────────────────────────────────


def test_a_stay_from_registration_to_discharge(world, product_a):
    world.register(registration(person_category="1"))
    [visit] = product_a.new_visits()
    assert (visit["yybh"], visit["person"], visit["kind"]) == (HOSPITAL, PERSON, "1")
    assert visit["no"].startswith(PRODUCT_A.short_code)
    assert visit["zyh"]
    assert visit["admitted"] == ADMITTED
    assert product_a.new_visits() == []

    for day in ("2026-02-27", "2026-02-28", "2026/03/01"):
        product_a.charge(visit, day, "L001", "12.5000", "2", "25.000")
        world.turn()
    assert product_a.lines(visit["no"]) == [PASSED] * 3
    assert isinstance(world.settle(visit["no"]), Settling)
    first = product_a.result(visit["no"])
    assert (first[0], first[1], first[2]) == (visit["no"], 1, HOSPITAL)
    assert first[4] == visit["zyh"]
    assert amounts(first) == (Decimal(75), Decimal("37.50"), 0, Decimal("37.50"), Decimal("37.50"), 0)
    assert product_a.result(visit["no"]) is None

    product_a.charge(visit, "20260302", "L002", "33.33", "1", "33.33")
    product_a.charge(visit, "20260302", "L002", "33.33", "-1", "-33.33")
    product_a.charge(visit, "20260302", "L001", "12.5", "1", "12.5")
    world.turn()
    assert product_a.lines(visit["no"]) == [PASSED] * 6
    assert isinstance(world.settle(visit["no"], final=True), Settling)
    last = product_a.result(visit["no"])
    assert (last[1], last[7]) == (2, Decimal("12.50"))
    total, fund, own, self_pay, person, institution = amounts(last)
    assert total == fund + person + institution
    assert person == own + self_pay

    world.discharge(visit["no"])
    [gone] = product_a.run("SELECT * FROM HIS_CYDJ").fetchall()
    assert (gone[0], gone[5], gone[6], gone[10]) == (visit["no"], DAY, "肺炎", "1")
    product_a.run("UPDATE HIS_CYDJ SET DRBZ = 1")
    product_a.charge(visit, "20260302", "L001", "12.5", "1", "12.5")
    world.turn()
    assert product_a.lines(visit["no"])[-1] == (2, "91")
    assert product_a.run("SELECT RANGE FROM HIS_CFXM_JKSYBZ").fetchone() == ("限二线用药",)


def test_a_line_that_fails_is_mended_in_place_and_read_again_without_asking(world, product_a):
    world.register(registration())
    [visit] = product_a.new_visits()
    product_a.charge(visit, "2026-03-01", "L001", "12.5", "2", "25")
    product_a.charge(visit, "2026-03-01", "NOMATCH", "12.5", "2", "25")
    product_a.charge(visit, "2026-03-01", "L001", "12.5", "2", "26")
    world.turn()
    assert product_a.lines(visit["no"]) == [PASSED, (2, "06"), (2, "14")]
    refused = world.settle(visit["no"])
    assert isinstance(refused, NotReady)
    assert refused.codes == ("rows-failed",)

    product_a.run(f"UPDATE HIS_CFXM SET JE = '25' WHERE JYDJH = '{visit['no']}' AND XMXH = 3")
    world.turn()
    assert product_a.lines(visit["no"]) == [PASSED, (2, "06"), PASSED]
    product_a.run(f"DELETE FROM HIS_CFXM WHERE JYDJH = '{visit['no']}' AND XMXH = 2")
    world.turn()
    assert world.failed(visit["no"]) == []
    assert isinstance(world.settle(visit["no"]), Settling)
    assert world.imported(visit["no"]) == [1, 3]


def test_recall_before_import_deletes_all_and_enters_them_anew(world, product_a):
    world.register(registration())
    [visit] = product_a.new_visits()
    for _ in range(3):
        product_a.charge(visit, "2026-03-01", "NOMATCH", "12.5", "2", "25")
    world.turn()
    assert product_a.lines(visit["no"]) == [(2, "06")] * 3

    product_a.recall(visit["no"])
    for _ in range(3):
        product_a.charge(visit, "2026-03-01", "L001", "12.5", "2", "25")
    world.turn()
    assert product_a.lines(visit["no"]) == [PASSED] * 3
    assert world.failed(visit["no"]) == []


def test_recall_after_import_is_an_error_and_deletes_nothing(world, product_a):
    """Of five lines three are read in. The product's one DELETE touches both kinds: it fails as a whole."""
    world.register(registration())
    [visit] = product_a.new_visits()
    for _ in range(3):
        product_a.charge(visit, "2026-03-01", "L001", "12.5", "2", "25")
    world.turn()
    for _ in range(2):
        product_a.charge(visit, "2026-03-01", "L001", "12.5", "2", "25")

    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match=FROZEN):
        product_a.recall(visit["no"])
    assert len(product_a.lines(visit["no"])) == 5
    world.turn()
    assert product_a.lines(visit["no"]) == [PASSED] * 5


def test_one_reader_never_finds_two_unread_results(world, product_a):
    """Whatever it read and whenever, the one unread row of a visit is its newest result."""
    world.register(registration())
    [visit] = product_a.new_visits()
    for batch in (1, 2, 3):
        product_a.charge(visit, "2026-03-01", "L001", "12.5", "2", "25")
        world.turn()
        world.settle(visit["no"])
        unread = product_a.run(f"SELECT FYPC FROM HIS_FYJS WHERE JYDJH = '{visit['no']}' AND DRBZ = 0").fetchall()
        assert unread == [(batch,)]
    assert product_a.result(visit["no"])[1] == 3
    assert product_a.result(visit["no"]) is None
    assert product_a.run("SELECT count(*) FROM HIS_FYJS").fetchone() == (3,)


def test_several_results_that_wait_come_together_and_one_of_them_is_unread(world, product_a):
    """The exchange was away while two batches were settled."""
    world.register(registration())
    [visit] = product_a.new_visits()
    take, world.turns.take = world.turns.take, lambda patrons: None
    for number in (1, 2):
        product_a.charge(visit, "2026-03-01", "L001", "12.5", str(number), str(12.5 * number))
        take(world.patrons)
        world.settle(visit["no"])
    world.turns.take = take
    world.turn()

    rows = product_a.run("SELECT FYPC, DRBZ FROM HIS_FYJS ORDER BY FYPC").fetchall()
    assert rows == [(1, 1), (2, 0)]


def test_no_row_of_another_institution_is_ever_read(world, product_a, product_b):
    """Neither product filters by institution."""
    world.register(registration(), outpatient(institution_code=CLINIC), outpatient())
    assert len(product_a.new_visits()) == 1
    assert len(product_a.run("SELECT * FROM HIS_MZDJ").fetchall()) == 1
    assert {row[1] for row in product_b.visits()} == {CLINIC}
    assert product_b.run("SELECT * FROM HIS_ZYDJ").fetchall() == []
    assert {row[4] for row in product_a.run("SELECT * FROM VIEW_MATCH").fetchall()} == {HOSPITAL}
    assert {row[4] for row in product_b.run("SELECT * FROM VIEW_MATCH").fetchall()} == {CLINIC}


# ── Product B: outpatients ────────────────────────────────────────────────────────────────────────────────


def test_an_outpatient_in_one_long_transaction(world, product_b):
    """Nothing is seen of it before it commits, nothing waits for it, and nothing of it is lost when it does."""
    older, newer = world.register(outpatient(institution_code=CLINIC), outpatient(institution_code=CLINIC))
    listed = product_b.visits()
    assert [row[0] for row in listed] == [newer, older]
    assert len(listed[0]) == 20
    assert all(row[8] for row in listed)

    product_b.charge(listed[0], "L001", "16.6650", "1.5")
    product_b.charge(listed[0], "L002", "33.33", "2")
    world.turn(3, quiet=True)
    assert world.imported(newer) == []
    later = ProductB(world.url)
    later.charge(listed[1], "L001", "12.5", "2")
    later.commit()
    later.connection.close()
    world.turn()
    assert world.imported(older) == [1]

    product_b.commit()
    world.turn()
    assert world.imported(newer) == [1, 2]
    assert product_b.lines(newer) == [PASSED, PASSED]
    world.turn(quiet=True)
    assert world.centre_answers(CLINIC) == 2
    world.turn()
    product_b.commit()
    row = product_b.result(newer)
    assert (row[0], row[1], row[4], row[7], row[15]) == (newer, 1, None, Decimal("91.66"), None)
    total, fund, _, _, person, institution = amounts(row)
    assert total == fund + person + institution
    assert set(world.rung) == {CLINIC}


def test_a_second_charge_of_the_visit_is_the_next_batch(world, product_b):
    [visit_no] = world.register(outpatient(institution_code=CLINIC))
    [visit] = product_b.visits()
    for batch, price in ((1, "10"), (2, "20")):
        product_b.charge(visit, "L001", price, "1")
        product_b.commit()
        world.turn()
        world.turn(quiet=True)
        world.centre_answers(CLINIC)
        world.turn()
        row = product_b.result(visit_no)
        product_b.commit()
        assert (row[1], row[7], row[21]) == (batch, Decimal(price), 0)
    assert product_b.run("SELECT FYPC FROM HIS_MZJS WHERE DRBZ = 0").fetchall() == [(2,)]


def test_a_number_given_again_after_a_deletion_is_refused_and_never_merged(world, product_b):
    """Three lines, one of them wrong and deleted: the next number by counting is three once more."""
    [visit_no] = world.register(outpatient(institution_code=CLINIC))
    [visit] = product_b.visits()
    product_b.charge(visit, "L001", "10", "1")
    product_b.charge(visit, "NOMATCH", "10", "1")
    assert product_b.charge(visit, "L001", "30", "1") == 3
    product_b.commit()
    world.turn()
    product_b.run(f"DELETE FROM HIS_MZXM WHERE JYDJH = '{visit_no}' AND XMXH = 2")
    assert product_b.charge(visit, "L001", "40", "1") == 3
    product_b.commit()
    world.turn()
    assert product_b.lines(visit_no) == [PASSED, PASSED, (2, "94")]
    assert world.imported(visit_no) == [1, 3]

    # The very same line once more is no line that was read before: it is another row with a number that is taken.
    product_b.run(f"DELETE FROM HIS_MZXM WHERE JYDJH = '{visit_no}' AND DRBZ = 2")
    assert product_b.charge(visit, "L001", "30", "1") == 3
    product_b.commit()
    world.turn()
    assert product_b.lines(visit_no) == [PASSED, PASSED, (2, "94")]
    assert world.imported(visit_no) == [1, 3]

    product_b.run(f"UPDATE HIS_MZXM SET XMXH = 4 WHERE JYDJH = '{visit_no}' AND DRBZ = 2")
    product_b.commit()
    world.turn()
    assert world.imported(visit_no) == [1, 3, 4]


def test_a_line_with_the_number_of_another_institution_is_refused_by_its_login(world, product_b):
    [visit_no] = world.register(outpatient(institution_code=HOSPITAL))
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="医院编号 YYBH 不是本登录所属医疗机构的编号"):
        product_b.run(
            f"INSERT INTO HIS_MZXM VALUES ('{visit_no}', '{visit_no[:6]}', '{PERSON}', '', '{DAY}', '{DAY}', 1, "
            "'L001', '药', 0, '', '', 1, 1, 1, '', '', '', 0, '')"
        )


def test_a_line_of_another_institutions_visit_is_code_92(world, product_b):
    """Its own YYBH, somebody else's visit: the login lets it in, the check does not."""
    [visit_no] = world.register(outpatient(institution_code=HOSPITAL))
    product_b.run(
        f"INSERT INTO HIS_MZXM VALUES ('{visit_no}', '{CLINIC}', '{PERSON}', '', '{DAY}', '{DAY}', 1, 'L001', "
        "'药', 0, '', '', 1, 1, 1, '', '', '', 0, '')"
    )
    product_b.commit()
    world.turn()
    assert product_b.lines(visit_no) == [(2, "92")]
    assert world.imported(visit_no) == []


def test_a_refund_is_a_line_with_quantity_minus_one_and_a_positive_price(world, product_b):
    [visit_no] = world.register(outpatient(institution_code=CLINIC))
    [visit] = product_b.visits()
    product_b.charge(visit, "L001", "12.5", "3")
    product_b.charge(visit, "L001", "12.5", "-1")
    product_b.commit()
    world.turn()
    assert product_b.lines(visit_no) == [PASSED, PASSED]
    product_b.charge(visit, "L001", "12.5", "-5")
    product_b.commit()
    world.turn()
    assert product_b.lines(visit_no)[2] == (2, "21")


def test_a_row_that_the_his_holds_is_passed_over_and_its_neighbours_are_not(world, product_a, url):
    """The product keeps a line locked for hours; the others of the visit are read meanwhile."""
    world.register(registration())
    [visit] = product_a.new_visits()
    for _ in range(3):
        product_a.charge(visit, "2026-03-01", "L001", "12.5", "2", "25")
    with his(url, PRODUCT_A, autocommit=False) as slow:
        slow.execute(f"UPDATE HIS_CFXM SET XMMC = '改名' WHERE JYDJH = '{visit['no']}' AND XMXH = 2")
        world.turn(2)
        assert world.imported(visit["no"]) == [1, 3]
        refused = world.settle(visit["no"])
        assert isinstance(refused, NotReady)
        assert refused.codes == ("rows-unread",)
        slow.commit()
    world.turn()
    assert world.imported(visit["no"]) == [1, 3, 2]
    assert product_a.lines(visit["no"]) == [PASSED] * 3


# ── The catalogue ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_views_show_the_published_version_and_no_ratio_is_null(world, product_b):
    world.turn()
    drugs = product_b.run("SELECT * FROM VIEW_MEDI ORDER BY MEDI_CODE").fetchall()
    items = product_b.run("SELECT * FROM VIEW_ITEM ORDER BY ITEM_CODE").fetchall()
    assert [(row[3], row[17]) for row in drugs] == [("C001", Decimal(0)), ("C002", Decimal("0.10"))]
    assert [(row[2], row[12]) for row in items] == [("C003", Decimal(1)), ("C004", Decimal(0))]
    assert product_b.run("SELECT count(*) FROM VIEW_MATCH WHERE AUDIT_FLAG = '1'").fetchone() == (4,)


def test_a_new_version_takes_the_place_of_the_old_one_as_a_whole(world, product_b):
    from sqlalchemy import insert, update

    from infra.reference import catalogue_row
    from tests.support.frontend import published
    from workers.tables import reference

    world.turn()
    with world.engine.begin() as connection:
        newer = published([HOSPITAL, CLINIC], "catalogue-2")
        connection.execute(update(reference).where(reference.c.kind == "catalogue").values(in_force=False))
        connection.execute(insert(reference), [catalogue_row(type(newer)(
            version="catalogue-2", items=newer.items[:1], matches=newer.matches[:1]))])  # fmt: skip
    before = product_b.run("SELECT count(*) FROM VIEW_MEDI").fetchone()
    product_b.connection.commit()
    world.turn()
    after = product_b.run("SELECT count(*) FROM VIEW_MEDI").fetchone()
    assert (before, after) == ((2,), (1,))


# ── Death and return ──────────────────────────────────────────────────────────────────────────────────────


def test_a_poller_that_dies_between_import_and_mark_imports_nothing_twice(world, product_a, monkeypatch):
    world.register(registration())
    [visit] = product_a.new_visits()
    for _ in range(4):
        product_a.charge(visit, "2026-03-01", "L001", "12.5", "2", "25")
    mark = type(world.tables).mark
    monkeypatch.setattr(type(world.tables), "mark", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        world.turn()
    assert world.imported(visit["no"]) == [1, 2, 3, 4]
    assert product_a.lines(visit["no"]) == [(0, "")] * 4

    monkeypatch.setattr(type(world.tables), "mark", mark)
    world.start_again()
    world.turn()
    assert world.imported(visit["no"]) == [1, 2, 3, 4]
    assert product_a.lines(visit["no"]) == [PASSED] * 4


def test_a_poller_that_dies_before_it_notes_what_it_handed_out_writes_nothing_twice(world, product_a, monkeypatch):
    from workers import visits

    with monkeypatch.context() as dying:
        dying.setattr(visits, "handed_out", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            world.register(registration(), outpatient())
    assert len(product_a.new_visits()) == 1
    world.start_again()
    world.turn()
    assert product_a.run("SELECT count(*), sum(DRBZ) FROM HIS_ZYDJ").fetchone() == (1, 1)
    assert product_a.run("SELECT count(*) FROM HIS_MZDJ").fetchone() == (1,)


def test_outpatients_imported_but_not_settled_are_settled_by_the_next_poller(world, product_b):
    [visit_no] = world.register(outpatient(institution_code=CLINIC))
    [visit] = product_b.visits()
    product_b.charge(visit, "L001", "10", "1")
    product_b.commit()
    world.turn()
    world.start_again()
    world.turn()
    world.turn(quiet=True)
    assert world.centre_answers(CLINIC) == 1
    world.turn()
    assert product_b.result(visit_no)[7] == Decimal(10)


def test_what_one_institution_does_to_us_keeps_no_other_waiting(world, product_b, monkeypatch):
    from producers.his.tables.incoming import Incoming

    look = Incoming.look

    def broken(self, **options):
        if self._patron.institution_code == HOSPITAL:
            raise ValueError("a row nobody thought of")
        return look(self, **options)

    monkeypatch.setattr(Incoming, "look", broken)
    [visit_no] = world.register(outpatient(institution_code=CLINIC))
    [visit] = product_b.visits()
    product_b.charge(visit, "L001", "10", "1")
    product_b.commit()
    world.turn()
    assert world.imported(visit_no) == [1]


def test_a_registration_taken_back_says_so(world, product_a, url):
    from workers import visits

    [visit_no] = world.register(registration())
    visits.cancel(world.engine, HOSPITAL, visit_no, at=NOON)
    world.turn()
    assert product_a.run("SELECT BZ3 FROM HIS_ZYDJ").fetchone() == ("CANCEL",)
    with insurance(url) as ours:
        row = ours.execute("SELECT count(*) FROM HIS_ZYDJ").fetchone()
    assert row == (1,)


def test_lines_entered_at_the_client_are_given_to_the_his(world, product_a):
    """Flow one (WF-05): the HIS reads HIS_MZXM and flags what it read; nothing of it comes back as a line."""
    from sqlalchemy import update

    from tests.support.visits import charge, delivery
    from workers import visits
    from workers.tables import institution

    with world.engine.begin() as connection:
        connection.execute(
            update(institution).where(institution.c.institution_code == HOSPITAL).values(outpatient_flow=1)
        )
    [visit_no] = world.register(outpatient())
    from tests.support.frontend import shelf

    entered = delivery(visit_no, charge(1), charge(2), channel="desk", source="")
    visits.import_lines(world.engine, shelf(), [entered], at=NOON, per=visits.Per.VISIT)
    world.turn()
    rows = product_a.run(f"SELECT * FROM HIS_MZXM WHERE JYDJH = '{visit_no}' AND DRBZ = 0 ORDER BY XMXH").fetchall()
    assert [(row[5], row[6], row[7], row[14]) for row in rows] == [
        (date(2026, 3, 2), 1, "L001", Decimal("25.00")),
        (date(2026, 3, 2), 2, "L001", Decimal("25.00")),
    ]
    assert product_a.run(f"UPDATE HIS_MZXM SET DRBZ = 1 WHERE JYDJH = '{visit_no}'").rowcount == 2
    world.turn(2)
    assert world.imported(visit_no) == [1, 2]
