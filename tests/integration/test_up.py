"""`jiesuan up` as a person uses it: it prints its addresses, takes claims, and Ctrl-C stops everything."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from city.sample.institutions import FRONTENDS

AT_A_TERMINAL = ("env", "--default-signal=INT")
"""Ctrl-C is heard, whatever the tests were started from: a shell's background jobs ignore it."""
JIESUAN = str(Path(sys.executable).with_name("jiesuan"))


@pytest.mark.timeout(180)
def test_a_city_that_is_up_takes_claims_until_it_is_stopped(tmp_path):
    env = {**os.environ, "JIESUAN_DATA_DIR": str(tmp_path), "NO_COLOR": "1", "COLUMNS": "200"}
    up = [*AT_A_TERMINAL, JIESUAN, "up"]
    with subprocess.Popen(up, env=env, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as city:
        printed = ""
        try:
            for line in city.stdout:
                printed += line
                if "Ctrl-C" in line:
                    break
            port = re.search(r"http://127\.0\.0\.1:(\d+)/v1/claims", printed)
            assert port, printed

            played = subprocess.run(
                [JIESUAN, "play"],
                env={**env, "JIESUAN_API_PORT": port[1]},
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=90,
                check=False,
            )
            logins, refused = at_the_broker(tmp_path / "city")
            looked = {site: as_operator(tmp_path, printed, site) for site in ("center", *FRONTENDS)}
        finally:
            city.send_signal(signal.SIGINT)
            city.communicate(timeout=40)

    assert (played.returncode, '"settled"' in played.stdout) == (0, True), played
    assert city.returncode in (0, 130)
    assert {site: done.returncode for site, done in looked.items()} == dict.fromkeys(looked, 0), looked
    assert "账目相符" in looked["center"].stdout
    assert logins == {"center", *FRONTENDS}, "everybody by a login of its own"
    assert refused == [], "and nobody needed more than it may do"


def as_operator(folder, printed, site):
    """What a person does beside it, with the file that was printed: look at the books, or for what is unknown."""
    file = re.search(rf"operator \({site}\)\s+\. (\S+)", printed)[1]
    asked = "books check" if site == "center" else "unknown list"
    env = {name: value for name, value in os.environ.items() if not name.startswith("JIESUAN_")}
    command = ["sh", "-c", f". {file} && {JIESUAN} {asked}"]
    return subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def at_the_broker(folder):
    """By which logins the city's processes are there, and what any of them was refused."""
    settings = (folder / "broker" / "valkey.conf").read_text()
    port, password = (re.search(rf"^{name} (\S+)$", settings, re.M)[1] for name in ("port", "requirepass"))
    with redis.Redis(port=int(port), password=password) as owner:
        refused = [entry for entry in owner.acl_log() if entry["age-seconds"] < 300]
        return {client["user"] for client in owner.client_list()} - {"default"}, refused
