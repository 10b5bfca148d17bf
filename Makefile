# The commands of this project. Each sets up what it needs, from a fresh clone.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help

help: ## say what there is
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 12

setup: $(VENV)/.done ## make .venv with the project and all that development needs

# Installed by hash from the lock file; the project itself is linked, not copied. The lock file is
# whole, so pip need not resolve: it would look at newer versions of what is asked for with extras,
# and refuse those for lack of a hash. `pip check` says if the file is not whole after all.
$(VENV)/.done: requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'Python 3.11 or newer is needed: make PYTHON=python3.12 $(MAKECMDGOALS)' >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/pip --disable-pip-version-check check >/dev/null || { $(BIN)/pip check; exit 1; }
	@touch $@

lock: setup ## write the lock files anew (the only target that looks for newer versions)
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
	  --upgrade --extra dev pyproject.toml -o requirements-dev.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
	  --constraint requirements-dev.lock --extra server pyproject.toml -o requirements.lock

.PHONY: help setup lock

# Real servers. What they need is installed where that can be done (Debian, as root); Kafka's jars
# are fetched once, into .cache/.
servers:
	@tests/install-servers.sh

test: setup servers ## every test, those on real Kafka and Redis included (ARGS="-k name" for some)
	$(BIN)/pytest $(ARGS)

kafka: setup servers ## a real Kafka for development, in the foreground (ARGS="--port 9092")
	@$(BIN)/python -m tests.servers kafka $(ARGS)

redis: setup servers ## a real Redis for development, in the foreground (ARGS="--port 6379")
	@$(BIN)/python -m tests.servers redis $(ARGS)

.PHONY: servers test kafka redis

docs: setup ## write the pages that are made from the code
	@$(BIN)/miningmap sources --markdown > docs/sources.md
	@$(BIN)/python -m tools.asyncapi > docs/asyncapi.yaml

check: setup ## format, lint, types, imports, AsyncAPI, OpenAPI, Compose schema: all that needs no server
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(BIN)/miningmap sources --markdown | diff - docs/sources.md >/dev/null \
	  || { echo 'docs/sources.md is not what the sources declare: run `make docs`' >&2; exit 1; }
	@$(BIN)/python -m tools.asyncapi | diff - docs/asyncapi.yaml >/dev/null \
	  || { echo 'docs/asyncapi.yaml is not what the code says: run `make docs`' >&2; exit 1; }
	@tools/check-asyncapi.sh
	@$(BIN)/python -m endpoint.routes.openapi | $(BIN)/openapi-spec-validator - >/dev/null
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

demo: setup ## the whole system on simulated pools, page on port 8080 (ARGS="--port 8090")
	@$(BIN)/miningmap demo $(ARGS)

.PHONY: docs check demo

bench: setup servers ## the tables of docs/performance.md, on a real Redis
	@for name in snapshot writes memory polling serving stream; do $(BIN)/python -m benchmarks.$$name || exit; done

.PHONY: bench
