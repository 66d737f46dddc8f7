"""The front desk in a real browser: what a cashier does from logging in to refunding, keys and clicks and all."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from random import Random

import pytest

from domain.entitlement import Entitlement
from domain.identity import synthetic_citizen_id
from domain.messages import PersonAnswered
from domain.money import PRICE_SCALE, QUANTITY_SCALE, amount_of, unscaled, yuan
from tests.support import chromium
from tests.support.api import HOSPITAL, KEYS, Api, open_sample_site
from tests.support.installed import is_skipped
from tests.support.refunds import answer_refunds
from tests.support.served import served
from workers import entitlement

pytestmark = pytest.mark.skipif(
    is_skipped(chromium.is_installed()),
    reason="CHROMIUM IS NOT INSTALLED HERE: the front desk was NOT proved in a browser (.ci/run installs chromium)",
)

PERSON, NAME = synthetic_citizen_id(7), "试验乙"


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[chromium.Page]:
    with chromium.running_chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture
def api(tmp_path) -> Iterator[Api]:
    with open_sample_site(tmp_path) as site, Api(site) as running:
        at = site.clock.now()
        known = Entitlement(
            citizen_id_no=PERSON,
            known=True,
            entitled=True,
            scheme="employee",
            category="1",
            account_balance_fen=20_000,
            version=1,
            leased_until=at + timedelta(hours=1),
        )
        entitlement.keep(site.engine, PersonAnswered(entitlements=(known,)), at=at)
        yield running


@pytest.fixture
def centre(api) -> Iterator[None]:
    """The desk and the centre at work in the background, for as long as the test runs."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.05):
            api.site.settle_all()
            answer_refunds(api.site.engine, at=api.site.clock.now())

    thread = threading.Thread(target=work)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.fixture
def desk(browser, api) -> Iterator[chromium.Page]:
    """The page, logged in, with nothing of an earlier test in it."""
    with served(api) as url:
        browser.open(f"{url}/desk")
        browser.value("sessionStorage.clear()")
        browser.open(f"{url}/desk")
        log_in(browser)
        browser.errors.clear()
        yield browser
        assert browser.errors == []


def log_in(page: chromium.Page, key: str = KEYS[HOSPITAL]) -> None:
    page.fill("#key", key)
    page.press("Enter")
    page.until(
        "document.querySelector('#listed').innerText !== '' && document.querySelector('#month').innerText !== ''"
    )


def register(page: chromium.Page, visit_type: str = "3") -> None:
    page.fill("[name=citizen_id_no]", PERSON)
    page.fill("[name=person_name]", NAME)
    page.fill("[name=visit_type]", visit_type)
    page.click("#register button")
    page.until("!document.querySelector('#visit').hidden")


def enter(page: chromium.Page, item: str, price: str, quantity: str) -> None:
    """One line by keyboard, faster than the list of items comes: item, Enter, price, quantity, Enter."""
    before = page.value("document.querySelectorAll('#lines tbody tr').length")
    page.fill("#item", item)
    page.press("Enter")
    page.until("document.activeElement.id !== 'item'")
    page.fill("#price", price)
    page.fill("#quantity", quantity)
    page.press("Enter")
    page.until(f"document.querySelectorAll('#lines tbody tr').length === {before + 1}")


def test_a_wrong_key_opens_nothing_and_leaving_forgets_everything(browser, api):
    with served(api) as url:
        browser.open(f"{url}/desk")
        browser.fill("#key", "guess")
        browser.press("Enter")
        browser.until("!document.querySelector('#alert').hidden")
        assert "密钥" in browser.text("#alert")
        log_in(browser)
        assert browser.text("#where") == "试验医院"
        assert "本月住院、门特 0 人次" in browser.text("#month")
        register(browser)
        browser.click("#leave")
        browser.until("!document.querySelector('#login').hidden")
        held = browser.value("document.documentElement.outerHTML + JSON.stringify(sessionStorage)")
        assert NAME not in held
        assert PERSON not in held
        assert KEYS[HOSPITAL] not in held


def test_an_outpatient_visit_from_registration_to_refund(desk, centre, tmp_path):
    register(desk)
    assert "个人账户余额 200.00 元" in desk.text("#entitlement")
    enter(desk, "阿莫西林", "12.5", "2")
    enter(desk, "LW0002", "50", "1")
    assert desk.text("#total") == "75.00"
    assert [desk.text(f"#lines tbody tr:nth-of-type({n}) td:nth-of-type(3)") for n in (1, 2)] == ["LW0001", "LW0002"]

    desk.click("#quote")
    desk.until("document.querySelector('#result-title').innerText.includes('试算')")
    assert desk.text("#amount-total_amount").split() == ["总金额", "75.00", "元"]

    desk.click("#settle")
    desk.until("document.querySelector('#slip-view').open")
    slip = desk.until("document.querySelector('#slip').contentDocument.body.innerText")
    assert "医疗费用结算单" in slip
    assert NAME in slip
    assert PERSON not in slip, "the number is masked on paper"
    desk.picture(tmp_path / "slip.png")
    desk.click("#close-slip")
    assert "应收现金" in desk.text("#amounts")
    assert desk.text("#lines tbody .code") == "第 1 批"

    desk.click("#batches tbody button:nth-of-type(2)")
    desk.until("document.querySelector('#refund-form').open")
    desk.click("#refund-form button[value=no]")
    desk.until("!document.querySelector('#refund-form').open")
    assert "已退费" not in desk.text("#batches")
    desk.click("#batches tbody button:nth-of-type(2)")
    desk.fill("#refund-form [name=reason]", "收费有误")
    desk.click("#refund-form button[value=yes]")
    desk.until("document.querySelector('#result-title').innerText.includes('已退费')")
    assert "退费（冲第 1 批）" in desk.text("#batches")

    desk.click("#back")
    desk.until("document.querySelectorAll('#visits tbody tr').length === 1")
    assert NAME in desk.text("#visits")


def test_wrong_lines_say_what_to_do_and_are_mended(desk):
    register(desk)
    enter(desk, "LW0001", "10", "1")
    desk.fill("#charge-date", "2026-03-01")
    enter(desk, "LW0002", "10", "1")
    desk.click("#save")
    desk.until("!document.querySelector('#alert').hidden")
    assert "1 条明细有误" in desk.text("#alert")
    bad = desk.text("#lines tbody tr.bad")
    assert "05" in bad
    assert "费用发生日期小于登记日期" in bad
    assert "办法：" in bad

    desk.click("#lines tbody tr.bad button")
    desk.fill("#charge-date", "2026-03-02")
    desk.fill("#quantity", "3")
    desk.press("Enter")
    desk.until("document.querySelectorAll('#lines tbody tr.bad').length === 0")
    desk.click("#save")
    desk.until("document.querySelectorAll('#lines tbody tr.good').length === 2")
    assert desk.text("#total") == "40.00"


def test_a_stay_is_discharged_and_counts_for_the_month(desk, centre):
    register(desk, "1")
    enter(desk, "LW0001", "10", "1")
    desk.click("#settle-interim")
    desk.until("document.querySelector('#slip-view').open")
    desk.click("#close-slip")
    enter(desk, "LW0002", "30", "1")
    desk.click("#save")
    desk.until("document.querySelectorAll('#lines tbody tr.good').length === 2")
    desk.click("#discharge")
    desk.fill("#discharge-form [name=discharge_diagnosis_1]", "肺炎")
    desk.click("#discharge-form button[value=yes]")
    desk.until("document.querySelector('#visit-state').innerText === '已出院，待结算'")
    desk.click("#settle")
    desk.until("document.querySelector('#slip-view').open")
    desk.click("#close-slip")
    desk.until("document.querySelector('#visit-state').innerText === '已办结'")
    desk.click("#back")
    desk.until("document.querySelector('#month').innerText.includes('1 人次')")


def test_nothing_about_the_person_is_in_an_address(desk, centre):
    register(desk)
    enter(desk, "LW0001", "10", "1")
    desk.click("#settle")
    desk.until("document.querySelector('#slip-view').open")
    addresses = json.dumps(desk.value("performance.getEntriesByType('resource').map((one) => one.name)"))
    assert "/v1/visits/" in addresses
    assert PERSON not in addresses
    assert NAME not in addresses


def test_the_page_reckons_as_the_checks_do(browser, api):
    chance = Random(7)
    pairs = [(chance.randrange(1, 10**8), chance.choice((-1, 1)) * chance.randrange(1, 10**6)) for _ in range(500)]
    pairs += [(5000, 1), (5000, -1), (12_500, 2), (1, 1)]
    written = [[unscaled(price, PRICE_SCALE), unscaled(quantity, QUANTITY_SCALE)] for price, quantity in pairs]
    with served(api) as url:
        browser.open(f"{url}/desk")
        reckoned = browser.value(f"{json.dumps(written)}.map(([p, q]) => money.yuan(money.amount(p, q)))")
        odd = browser.value("['1.23456', 'x', '', '1e3', '01'].map((text) => money.scaled(text, 4))")
    assert reckoned == [yuan(amount_of(price, quantity)) for price, quantity in pairs]
    assert odd == [None] * 5


def test_a_cancelled_registration_is_gone_from_the_day(desk):
    register(desk)
    desk.value("window.confirm = () => true")
    desk.click("#cancel")
    desk.until("document.querySelector('#visits tbody').innerText.includes('已撤销')")
