# The commands of this project. Each sets up what it needs, also in a fresh clone.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 12

setup: $(VENV)/.done ## create .venv with the project and its development tools

# Dependencies are installed from the lock file by hash; the project itself is linked. The lock file
# lists all dependencies, so pip does not resolve any: for requirements with extras it would consider
# newer versions and reject them for lack of a hash. `pip check` fails if one is missing after all.
# Python compiles what is imported, so pip need not compile everything.
$(VENV)/.done: requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'Python 3.11 or newer is needed: make PYTHON=python3.12 $(MAKECMDGOALS)' >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-compile --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/pip --disable-pip-version-check check >/dev/null || { $(BIN)/pip check; exit 1; }
	@touch $@

lock: setup ## update the lock files (the only target that looks for newer versions)
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
	  --upgrade --extra dev pyproject.toml -o requirements-dev.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
	  --constraint requirements-dev.lock --extra server --extra partner pyproject.toml -o requirements.lock

.PHONY: help setup lock

# Real servers. Missing system packages are installed where possible (Debian, as root). The jars of
# Kafka are downloaded once, into .cache/, beside an archive with which it starts faster.
servers: setup
	@tests/install-servers.sh
	@$(BIN)/python -m tests.servers prepare

# Without ARGS in four processes, each with its own servers, also on two cores: most tests wait for
# other processes. The tests of a file stay together: they share fixtures.
test: setup servers ## run all tests, on real Kafka and Redis too (ARGS="-k name" selects some)
	$(BIN)/pytest $(or $(ARGS),--numprocesses 4 --dist loadfile --no-loadscope-reorder)

stories: setup servers ## run all stories of swings, with tables of delays and false alarms (ARGS="--months 0"), and slow tests
	$(BIN)/python -m tests.stories $(ARGS)
	SLOW=1 $(BIN)/pytest tests/stories/test_live.py tests/deploy/test_alerting.py

SLOW_FAULTS := tests/http/test_attacks.py tests/streams/test_wedged.py tests/collector/test_outbox_kill.py
torture: setup servers ## break the system in every way, under load, for hours; writes docs/reliability.md (ARGS="--list")
	$(BIN)/python -m tests.torture $(ARGS)
	SLOW=1 $(BIN)/pytest $(SLOW_FAULTS)

# So many inputs for each target; guided by coverage where atheris has wheels, elsewhere with --plain.
fuzz: setup ## fuzz all that reads what comes from outside (ARGS="--runs 20000 --plain message")
	@$(BIN)/python -m tests.fuzz $(ARGS)

kafka: setup servers ## run a real Kafka for development, in the foreground (ARGS="--port 9092")
	@$(BIN)/python -m tests.servers kafka $(ARGS)

redis: setup servers ## run a real Redis for development, in the foreground (ARGS="--port 6379")
	@$(BIN)/python -m tests.servers redis $(ARGS)

.PHONY: servers test stories torture fuzz kafka redis

docs: setup ## write what is generated from the code: pages, dashboards and beliefs/part_of.toml
	@$(BIN)/python -m tools.part_of > beliefs/part_of.toml
	@$(BIN)/miningmap sources --markdown > docs/sources.md
	@$(BIN)/miningmap beliefs --markdown > docs/beliefs.md
	@$(BIN)/python -m tools.asyncapi > docs/asyncapi.yaml
	@$(BIN)/python -m tools.metrics > docs/metrics.md
	@$(BIN)/python -m tools.dashboards deploy/grafana/dashboards
	@$(BIN)/python -m tools.scaling

page: ## build the page from its sources into endpoint/page/built (needs Node.js)
	@tools/page.sh build

# Independent of each other: `make --jobs 4 check` uses all cores of a small machine.
CHECKS := check-code check-tests check-types check-page check-secrets check-generated check-deploy
check: $(CHECKS) ## check format, lint, types, imports, generated documents, alert rules, the Compose file and the manifests

check-code: setup
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/lint-imports
	@$(BIN)/python -m benchmarks.cost --check

# This also compiles the tests, which all processes of `make test` would do at the same time otherwise.
check-tests: setup
	@collected=$$($(BIN)/python -m pytest --collect-only -qq) || { echo "$$collected" >&2; exit 1; }

check-types: setup
	$(BIN)/mypy

# The parsers of AsyncAPI and of dashboards share a folder of packages, which the first one installs.
check-generated: setup
	@$(BIN)/miningmap sources --markdown | diff - docs/sources.md >/dev/null \
	  || { echo 'docs/sources.md differs from the declared sources: run `make docs`' >&2; exit 1; }
	@$(BIN)/python -m tools.part_of | diff - beliefs/part_of.toml >/dev/null \
	  || { echo 'beliefs/part_of.toml differs from the declared sources: run `make docs`' >&2; exit 1; }
	@$(BIN)/miningmap beliefs check beliefs
	@$(BIN)/miningmap beliefs --markdown | diff - docs/beliefs.md >/dev/null \
	  || { echo 'docs/beliefs.md differs from the files of beliefs: run `make docs`' >&2; exit 1; }
	@$(BIN)/python -m tools.asyncapi | diff - docs/asyncapi.yaml >/dev/null \
	  || { echo 'docs/asyncapi.yaml differs from the code: run `make docs`' >&2; exit 1; }
	@$(BIN)/python -m tools.metrics | diff - docs/metrics.md >/dev/null \
	  || { echo 'docs/metrics.md differs from the metrics of the services: run `make docs`' >&2; exit 1; }
	@tools/check-asyncapi.sh
	@$(BIN)/python -m tools.dashboards .cache/dashboards && diff -r .cache/dashboards deploy/grafana/dashboards >/dev/null \
	  || { echo 'deploy/grafana/dashboards differs from tools/dashboards: run `make docs`' >&2; exit 1; }
	@tools/check-dashboards.sh
	@$(BIN)/python -m endpoint.routes.openapi | $(BIN)/openapi-spec-validator - >/dev/null

check-page: setup
	@tools/page.sh check

check-deploy: setup
	@tools/check-alerts.sh
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	@tools/check-kubernetes.sh

check-secrets: setup
	@tools/check-secrets.sh

.PHONY: $(CHECKS)

# Where no advisory data can be had it says so, and fails with another code than for a vulnerability.
audit: setup ## compare the locked dependencies with the known vulnerabilities (needs access to PyPI or OSV)
	@$(BIN)/python -m tools.audit

sbom: setup ## write sbom.json, the bill of materials of the image (CycloneDX 1.6), from requirements.lock
	@$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --validate \
	  --sv 1.6 --of JSON -o sbom.json requirements.lock

demo: setup ## run the whole system on simulated pools, page on port 8080 (ARGS="--port 8090")
	@$(BIN)/miningmap demo $(ARGS)

.PHONY: docs page check audit sbom demo

bench: setup servers ## measure on a real Kafka and Redis, and compare with what is to be reached (ARGS="--full", ARGS="workers")
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: bench
