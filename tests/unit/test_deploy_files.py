"""The container files: what can be said about them without a container engine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from city.cli import Role
from city.sample import institutions as sample_institutions
from infra.deploy.make_secrets import FRONTENDS, WITH_TABLES, contents
from infra.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("jiesuan:")}
JOBS = {name for name, service in OURS.items() if service["restart"] == "no"}

ROLES = {
    "serve": {"center-settle", "center-detail", "beat", "flower", "api", "desk", "link", "his", "tables"},
    "migrate": {"center", "frontend"},
    "seed": {"center", "frontend"},
    "play": set(),
}

every_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
every_one_of_ours = pytest.mark.parametrize("service", OURS.values(), ids=OURS)


@every_service
def test_no_service_runs_as_root_or_may_become_it(service):
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True


@every_service
def test_ports_are_open_to_this_machine_only(service):
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@every_service
def test_images_have_a_version(service):
    assert re.search(r":\d+\.\d+", service["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_whatever_keeps_running_tells_whether_it_is_well(name):
    health = SERVICES[name]["healthcheck"]

    assert health == {"disable": True} if name in JOBS else health["test"]


@every_one_of_ours
def test_the_command_is_one_of_the_known_roles(service):
    program, verb, *role = service["command"]

    assert program == "jiesuan"
    assert set(role) <= ROLES[verb]
    assert role or not ROLES[verb]


def test_every_role_that_can_be_served_is_among_the_known_ones():
    assert ROLES["serve"] == {role.value for role in Role}


def test_every_front_end_of_the_sample_city_has_its_containers():
    sites = {service["environment"].get("JIESUAN_FRONTEND") for service in OURS.values()} - {None}

    assert sites == set(FRONTENDS) == set(sample_institutions.FRONTENDS)


def test_every_role_is_played():
    played = {tuple(service["command"][1:]) for service in OURS.values()}

    assert played == {(verb, role) for verb, roles in ROLES.items() for role in roles} | {("play",)}


@every_one_of_ours
def test_the_environment_is_one_that_the_settings_know(service):
    known = {f"JIESUAN_{name.upper()}" for name in Settings.model_fields}

    assert set(service["environment"]) <= known


@every_service
def test_the_environment_holds_no_secret(service):
    for name, value in service.get("environment", {}).items():
        assert not re.search("PASSWORD|SECRET|KEY|TOKEN", name) or str(value).startswith("/run/secrets/")
        assert "@" not in str(value)


def test_the_secrets_that_are_made_are_those_that_are_mounted():
    named = {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}
    mounted = {
        secret["source"] if isinstance(secret, dict) else secret
        for service in SERVICES.values()
        for secret in service.get("secrets", [])
    }

    assert named == set(contents())
    assert mounted == set(COMPOSE["secrets"])


def test_a_sites_env_file_holds_settings_and_its_password_is_the_brokers():
    files = contents()
    known = {f"JIESUAN_{name.upper()}" for name in Settings.model_fields}

    for site in ("center", *FRONTENDS):
        lines = dict(line.split("=", 1) for line in files[f"{site}.env"].splitlines())
        password = re.fullmatch(rf"redis://{site}:(.+)@broker:6379/0", lines["JIESUAN_CENTER_BROKER_URL"])[1]
        assert set(lines) <= known
        assert f"user {site} on >{password} " in files["broker_acl"]


def test_the_shared_tables_are_on_the_server_whose_password_is_made():
    files = contents()
    address = f"postgresql://jiesuan:{files['exchange_db_password']}@exchange-db/exchange"

    assert f"JIESUAN_EXCHANGE_DATABASE_URL={address}\n" in files[f"{WITH_TABLES}.env"]
    assert SERVICES["exchange-db"]["environment"]["POSTGRES_DB"] == "exchange"
    assert set(SERVICES["exchange-db"]["networks"]) <= set(SERVICES[f"{WITH_TABLES}-tables"]["networks"])


def test_the_example_file_names_every_setting_and_no_other():
    text = (ROOT / ".env.example").read_text(encoding="utf-8")

    assert set(re.findall(r"^#(JIESUAN_[A-Z_]+)=", text, re.M)) == {
        f"JIESUAN_{n.upper()}" for n in Settings.model_fields
    }


def test_the_broker_throws_nothing_away():
    command = SERVICES["broker"]["command"]
    flags = dict(zip(command[3::2], command[4::2], strict=True))

    assert flags["--appendonly"] == "yes"
    assert flags["--maxmemory-policy"] == "noeviction"


def test_services_wait_for_the_migration_of_their_own_database():
    waits = {
        name: {other for other, how in service["depends_on"].items() if "completed" in how["condition"]}
        for name, service in OURS.items()
        if name not in JOBS
    }

    for name, jobs in waits.items():
        site = {"JIESUAN_FRONTEND": SERVICES[name]["environment"].get("JIESUAN_FRONTEND")}
        for job in jobs:
            assert SERVICES[job]["environment"].get("JIESUAN_FRONTEND") == site["JIESUAN_FRONTEND"]
        assert len(jobs) == 1


def test_the_lock_names_no_package_index():
    lock = (ROOT / "requirements.lock").read_text(encoding="ascii")

    assert not re.search(r"://|index|find-links|trusted-host", re.sub(r"# via .*", "", lock))
    assert all("--hash=sha256:" in entry for entry in re.split(r"\n(?=[a-z0-9])", lock))


def test_the_image_is_built_from_the_packages_of_the_project_and_nothing_that_was_not_meant_to_be_in_it():
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()

    assert ignore[1] == "*"
    assert not {"!secrets", "!.env", "!tests"} & set(ignore)
    for package in ("center", "city", "domain", "infra", "policies", "producers", "workers"):
        assert f"!{package}" in ignore
