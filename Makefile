# Tradewind. `make help` lists what can be made; `make run` runs it, `make test` tests it.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# How many test processes. On two cores they wait for servers, time-outs and processes a third of
# their time: TEST_WORKERS=3 is quicker by minutes, and tests meet their time limits more often.
TEST_WORKERS ?= 2

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The environment: every package by hash from the one lock. uv is taken from the lock first,
# because it installs the rest in seconds.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v < (3, 14) else f"Tradewind needs Python 3.11 to 3.13, {sys.executable} is {v[0]}.{v[1]}; set PYTHON=")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@awk '/^uv==/ {on = 1} on && /^[a-zA-Z]/ && !/^uv==/ {exit} on' requirements.lock > $(VENV)/uv.lock
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: env
env: $(READY) ## make the Python environment (.venv)

# FEED=history|replay|synthetic, FILE=, BROKER=simulator|alpaca, FACTOR=, SYMBOLS=: on the command
# line or in the environment.
.PHONY: run
run: $(READY) ## run the whole system here until Ctrl-C (FEED= FILE= BROKER= FACTOR= SYMBOLS=)
	@exec env FEED="$(FEED)" FILE="$(FILE)" BROKER="$(BROKER)" FACTOR="$(FACTOR)" SYMBOLS="$(SYMBOLS)" \
		$(BIN)/python -m infra.embedded

.PHONY: down
down: $(READY) ## stop the system that `make run` started
	@$(BIN)/python -m cli down

.PHONY: gateway
gateway: $(READY) ## write nginx.conf and Caddyfile from infra/routes.py
	$(BIN)/python -m infra.gateway

.PHONY: compose-check
compose-check: $(READY) ## build the Compose stack, see it trade, take it down (needs Docker)
	$(BIN)/python -m infra.compose_check

.PHONY: lock
lock: $(READY) ## renew requirements.lock from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --generate-hashes \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		--all-extras pyproject.toml -o requirements.lock

# The types take longest, so they come first and the rest runs beside them.
.PHONY: lint
lint: $(READY) ## style, types, import rules, and what security-check needs no network for
	@$(MAKE) --no-print-directory -j $(TEST_WORKERS) types secret-scan bandit style hadolint

.PHONY: types
types: $(READY)
	$(BIN)/mypy

.PHONY: style
style: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

.PHONY: security-check
security-check: bandit hadolint secret-scan sbom audit-deps ## all checks of code, images and packages

# bandit tells on stderr of each exclusion that excuses more lines than one.
.PHONY: bandit
bandit: $(READY) ## look for unsafe calls (what is excused stands in pyproject.toml or beside the line)
	@said=$$($(BIN)/bandit -q -c pyproject.toml -r libs services cli infra strategies migrations benchmarks 2>&1) \
		&& echo "bandit: nothing found" || { echo "$$said" | grep -v "no failed test on file"; exit 1; }

.PHONY: hadolint
hadolint: $(READY) ## check the Dockerfiles
	$(BIN)/hadolint docker/*.Dockerfile

# HISTORY=1 looks through every line that any commit ever added.
.PHONY: secret-scan
secret-scan: $(READY) ## look for secrets in what git tracks (HISTORY=1: ever tracked)
	@$(BIN)/python -m infra.supply.secret_scan $(if $(HISTORY),--history)

# Error 1: holes are known. Error 3: nobody answered, so nothing was checked.
.PHONY: audit-deps
audit-deps: $(READY) ## ask an advisory service about every package of the lock (needs the network)
	@$(BIN)/python -m infra.supply.advisories

.PHONY: sbom
sbom: $(READY) ## write bills of materials (CycloneDX) of the lock, the images, the stack: build/sbom
	@$(BIN)/python -m infra.supply.sbom

# The hundreds of processes that tests start read modules that are compiled once, whatever the
# environment says of writing them.
.PHONY: test
test: lint ## everything that checks the project
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -q -n $(TEST_WORKERS) --dist loadscope --no-loadscope-reorder
	@if docker info >/dev/null 2>&1; then $(MAKE) --no-print-directory test-containers; \
	else echo "no Docker engine here: the integration tests ran on the packaged servers only"; fi

.PHONY: test-containers
test-containers: $(READY) ## the integration tests on the official images (needs Docker)
	TRADEWIND_TEST_SERVERS=containers TESTCONTAINERS_RYUK_DISABLED=true \
		$(BIN)/pytest -q tests/integration --ignore tests/integration/embedded --ignore tests/integration/gateway

.PHONY: unit
unit: $(READY) ## the fast tests only
	$(BIN)/pytest -q -n $(TEST_WORKERS) tests/unit tests/architecture

# SEED replays the plan of a session; docs/how-to/chaos.md tells the rest.
.PHONY: chaos
chaos: $(READY) ## break everything for MINUTES=10 while it trades, then look at the books (SEED=)
	@$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

# SEED= begins with that round; SERVICE= tries one service only.
.PHONY: fuzz
fuzz: $(READY) ## send every service what its OpenAPI allows and forbids (MINUTES=10 SEED= SERVICE=)
	@$(BIN)/python -W ignore -m tests.fuzz --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED)) \
		$(if $(SERVICE),--service $(SERVICE))

# SEED= replays one session; SEEDS= or MINUTES= play many, from SEED= on or from a fresh one.
.PHONY: sim
sim: $(READY) ## play seeded simulated sessions (SEED= STEPS= SEEDS= MINUTES= GUARDED=)
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED)) $(if $(STEPS),--steps $(STEPS)) \
		$(if $(SEEDS),--seeds $(SEEDS)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(GUARDED),--guarded)

.PHONY: bench
bench: $(READY) ## measure everything beside its floors; renews docs/benchmarks.md (BENCH="path http" for some)
	$(BIN)/python -m benchmarks $(BENCH) --write

# One by one: a peer that does not install here is named and leaves the others alone.
.PHONY: peers
peers: ## install the peers of bench-backtest into .venv-peers
	@$(SHELL) benchmarks/peers/install.sh $(PYTHON)

.PHONY: bench-backtest
bench-backtest: $(READY) ## backtests beside the peers that are installed (make peers); WRITE=1 renews docs/benchmarks.md
	@$(BIN)/python -m benchmarks backtest $(if $(WRITE),--write)

.PHONY: docs
docs: $(READY) ## write the generated pages (contracts, order lifecycle, metrics, …)
	$(BIN)/python -m infra.docs

# MINUTES_FILE=: one-minute bars for the strategies that trade within the day.
.PHONY: tear-sheets
tear-sheets: $(READY) ## make docs/strategies/tear-sheets anew (NAMES="..." for some)
	$(BIN)/python -m infra.tear_sheets $(NAMES) $(if $(MINUTES_FILE),--minutes $(MINUTES_FILE))

.PHONY: clean
clean: ## remove caches and the environment, keep var/
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -not -path './var/*' -prune -exec rm -rf {} +

.PHONY: drill
drill: $(READY) ## halt a system of its own under load, and measure: halted, cancelled, flat, --direct
	@$(BIN)/python -m benchmarks halt $(if $(WRITE),--write)
