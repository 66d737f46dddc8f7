"""The front desk's page and look-ups: what is served, with which headers, and to whom."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from sqlalchemy import insert

from city import cli
from producers.desk.pages import _KINDS
from tests.support.api import CLINIC, DAY, HOSPITAL, KEYS, Api, open_sample_site
from tests.support.served import served
from workers import tables

STATIC = Path(__file__).parents[2] / "producers" / "desk" / "static"


@pytest.fixture
def api(tmp_path):
    with open_sample_site(tmp_path) as site, Api(site) as running:
        yield running


def visit_row(number: int, **change):
    row = {
        "visit_no": f"T0000{number:011d}",
        "institution_code": HOSPITAL,
        "visit_type": "1",
        "visit_date": DAY,
        "state": "open",
        "channel": "api",
        "content_digest": b"",
        "content": b"",
        "registered_at": None,
    }
    return row | change


def test_the_page_and_its_files_need_no_key_and_nothing_from_elsewhere(api):
    page = api.call("GET", "/desk", key=None)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    named = set(re.findall(r'(?:src|href)="/desk/([^"]+)"', page.text))
    assert named == set(_KINDS) - {"index.html"}
    for name in named:
        answer = api.call("GET", f"/desk/{name}", key=None)
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert api.call("GET", "/desk/index.html", key=None).status_code == 404
    assert api.call("GET", "/desk/..%2f__init__.py", key=None).status_code == 404


def test_nothing_the_page_loads_is_on_another_host():
    for file in STATIC.iterdir():
        assert not re.search(r"https?://|//[a-z0-9.-]+\.[a-z]{2,}/", file.read_text(encoding="utf-8")), file.name


def test_the_page_writes_what_comes_from_outside_as_text():
    script = (STATIC / "desk.js").read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)


def test_nothing_about_a_person_is_put_into_an_address_or_kept(api):
    script = (STATIC / "api.js").read_text(encoding="utf-8")
    addresses = re.findall(r"`(/v1/[^`]*)`", script)
    assert addresses
    assert {name for address in addresses for name in re.findall(r"\$\{([a-zA-Z(]+)", address)} <= {
        "number", "encodeURIComponent(text", "day",
    }  # fmt: skip
    everything = "".join(file.read_text(encoding="utf-8") for file in STATIC.glob("*.js"))
    assert "localStorage" not in everything
    assert re.findall(r"sessionStorage\.setItem\((\"\w+\")", everything) == ['"key"']
    assert "document.cookie" not in everything


def test_the_page_uses_the_api_and_no_other_door():
    calls = re.findall(r'"(?:GET|POST)", [`"](/[a-z0-9]+/)', (STATIC / "api.js").read_text(encoding="utf-8"))
    assert set(calls) == {"/v1/"}


def test_the_institution_and_its_month(api):
    with api.site.engine.begin() as connection:
        at = api.site.clock.now()
        rows = [
            visit_row(1, registered_at=at),
            visit_row(2, registered_at=at, visit_type="2", visit_date=DAY.replace(day=1)),
            visit_row(3, registered_at=at, visit_type="3"),
            visit_row(4, registered_at=at, state="cancelled"),
            visit_row(5, registered_at=at, visit_date=DAY.replace(month=2)),
            visit_row(6, registered_at=at, institution_code=CLINIC),
        ]
        connection.execute(insert(tables.visit), rows)
    answer = api.call("GET", "/v1/institution").json()
    assert answer == {
        "institution_code": HOSPITAL,
        "name": "试验医院",
        "level": 3,
        "today": "2026-03-02",
        "this_month": {"stays": 2, "advisory": 50},
    }
    assert api.call("GET", "/v1/institution", key=None).status_code == 401


@pytest.mark.parametrize(
    ("asked", "codes"),
    [
        ("", ["LW0001", "LW0002", "LX0003"]),
        ("q=lw", ["LW0001", "LW0002"]),
        ("q=LW0002", ["LW0002"]),
        ("q=胶囊", ["LW0001", "LW0002"]),
        ("q=头孢", ["LW0002"]),
        ("q=nothing", []),
        ("limit=1", ["LW0001"]),
    ],
)
def test_items_are_found_by_code_or_name(api, asked, codes):
    answer = api.call("GET", f"/v1/matches?{asked}")
    assert [match["local_item_code"] for match in answer.json()["matches"]] == codes


def test_only_ones_own_items(api):
    answer = api.call("GET", "/v1/matches", key=KEYS[CLINIC]).json()
    assert (answer["day"], len(answer["matches"])) == ("2026-03-02", 3)
    assert api.call("GET", "/v1/matches", key="guess").status_code == 401
    assert api.call("GET", "/v1/matches?name=x").status_code == 400


# ── jiesuan desk ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def command(api, monkeypatch, tmp_path, capsys):
    """Run `jiesuan desk` against a running site; its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["jiesuan", "desk", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    with served(api) as url:
        yield run, url


def test_the_command_says_where_the_desk_is_and_opens_it(command, monkeypatch):
    run, url = command
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert run("--url", url)[:2] == (0, f"{url}/desk\n")
    assert opened == []
    code, out, _ = run("--url", url, "--open", "--json")
    assert (code, json.loads(out), opened) == (0, {"address": f"{url}/desk"}, [f"{url}/desk"])


def test_the_command_says_when_nothing_answers(command):
    run, _ = command
    code, out, err = run("--url", "http://127.0.0.1:9")
    assert (code, out, "没有应答" in err) == (75, "", True)
