# Everything a newcomer, an operator and CI type. Needs make and Python 3.11 with pip.

.DEFAULT_GOAL := help
.PHONY: help setup run up test check lint bench load prove secrets lock clean
bin := .venv/bin
# Dozens of processes import the same files: they are compiled once, also where the environment asks for no compiled files.
export PYTHONDONTWRITEBYTECODE :=

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

setup: ## bring .tools and .venv into this folder (again only when the lock has changed)
	@sh infra/setup.sh

run: setup ## one outpatient morning on real services, then the proof that nothing was lost
	@$(bin)/jiesuan run

up: setup ## the same services, kept running until Ctrl-C
	@$(bin)/jiesuan up

check: lint ## everything that needs no service: style, types, import rules, container files, unit tests
	$(bin)/pytest tests/unit -n 2

# Two at a time on two cores, file by file, the longest first (tests/conftest.py): what a test looks back at was done by
# the tests before it. Integration tests start processes, kill them and look at the clock: they come afterwards, three at
# a time, since one or the other always waits.
at_once := --dist loadfile --no-loadscope-reorder
test: lint ## what CI runs: check, and the contract, database, simulation and integration tests
	$(bin)/pytest tests --ignore=tests/integration -n 2 $(at_once)
	$(bin)/pytest tests/integration -n 3 $(at_once) -p no:schemathesis

lint: setup
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports --no-logo
	$(bin)/yamllint --strict .
	$(bin)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(bin)/hadolint infra/deploy/Dockerfile

bench: setup ## every figure of docs/benchmarks.md, as a table and as JSON
	@$(bin)/python -m tests.bench

# One way of settling takes about a quarter of an hour; MODE=all the same day in three ways, three quarters of one.
load: setup ## a city's peak day, sixty times as fast, with a report (MODE=central, local, centralized or all)
	@$(bin)/jiesuan load run --mode $(or $(MODE),central)

prove: setup ## the long proofs: guards taken away, a million claims checked, bad input, kills, faults
	@$(bin)/python -m tests.guards
	@$(bin)/python -m tests.crash_points
	@$(bin)/python -m tests.million
	@$(bin)/python -m tests.tampering
	@$(bin)/python -m tests.clearing_years
	@$(bin)/python -m tests.database.test_outcome_model 5
	@$(bin)/python -m tests.malformed
	@$(bin)/python -m tests.simulation.kills
	@$(bin)/python -m tests.faults
	@$(bin)/python -m tests.load
	@$(bin)/python -m tests.bench.history
	@$(bin)/python -m tests.simulation.city --seeds 10000
	@$(bin)/python -m tests.simulation.city.orders --seeds 300
	@$(bin)/python -m tests.simulation.city.guarded

secrets: setup ## passwords and keys for docker-compose.yml, into ./secrets
	@$(bin)/python -m infra.deploy.make_secrets

lock: setup ## compile requirements.lock anew from pyproject.toml and requirements.in
	.tools/bin/uv pip compile pyproject.toml requirements.in --extra embedded --universal \
		--python-version 3.11 --generate-hashes --no-header --quiet --output-file requirements.lock

clean: ## remove what running and testing left; .venv and .tools stay
	rm -rf .data build dist reports .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv/*' -not -path './.tools/*' -exec rm -rf {} +
