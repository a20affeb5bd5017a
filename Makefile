# `make demo` and `make test` need nothing but Python 3.11 and make: each makes its own environment first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TOOLS := $(VENV)-tools/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PENSTOCK_TEST_ALL

# what runs whole watchers comes after the rest, as it waits more than it works; tests that are not about the database
# take turns with the databases (EVERY=1: every test on each); chaos needs the machine for itself, as one that is busy
# has faults of its own
BY_TURNS = PENSTOCK_TEST_BY_TURNS=$(if $(EVERY),,1)
# the machine may be busy with something else: a wait that runs out or takes longer than its bound, and nothing else, is
# given a second try and told of (docs/decisions/0026)
ONCE_MORE := --reruns 1 --only-rerun TookTooLongError --only-rerun TimeoutExpired --only-rerun 'function monotonic'
WAITING := tests/watcher tests/acceptance
KILLING := tests/failpoints/test_kill.py
ALONE := tests/chaos/test_chaos.py

.PHONY: demo test test-all check format schema lock audit sbom bench chaos clean
.DEFAULT_GOAL := help

help: ## say what there is
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	@touch $@

# what the lock names and nothing else: the build takes hatchling from it too
$(BIN)/.developing: pyproject.toml requirements/development.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes --requirement requirements/development.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@ $(BIN)/.installed

$(TOOLS)/.installed: requirements/tools.lock
	$(PYTHON) -m venv $(VENV)-tools
	$(TOOLS)/pip install --quiet --require-hashes --requirement requirements/tools.lock
	@touch $@

demo: $(BIN)/.installed ## run the sample workflow on SQLite, over HTTP, and show its rows
	$(BIN)/python examples/demo.py

test: $(BIN)/.developing ## the whole suite: SQLite, and MariaDB and PostgreSQL where they are installed
ifdef ARGS
	$(BIN)/python -m pytest $(ARGS)
else
	$(BY_TURNS) $(BIN)/python -m pytest -n 5 --dist loadgroup $(ONCE_MORE) $(foreach it,$(WAITING) $(KILLING) $(ALONE),--ignore=$(it))
	$(BY_TURNS) $(BIN)/python -m pytest -n 6 --dist loadgroup $(ONCE_MORE) $(WAITING)
	$(BIN)/python -m pytest -n 4 $(KILLING)
	$(BIN)/python -m pytest $(ALONE)
endif

test-all: export PENSTOCK_TEST_ALL = 1
test-all: EVERY = 1
test-all: test ## every test on every database; a missing server is a failure

check: $(BIN)/.developing ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(BIN)/.developing ## put the code into its format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: $(BIN)/.developing ## write sql/schema anew from engine/tables/__init__.py
	$(BIN)/python -m engine.schema

bench: $(BIN)/.developing ## measure registrations and tasks a second
	$(BIN)/python benchmarks/main_job.py $(ARGS)

# for every platform and every Python from 3.11 on; versions that still fit stay as they are, but for ARGS=--upgrade
LOCK = $(TOOLS)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock' $(ARGS)
PRODUCTION := requirements/production.lock
lock: $(TOOLS)/.installed ## write requirements/*.lock anew from pyproject.toml and requirements/*.in
	$(LOCK) --extra postgresql --extra mysql --extra oidc pyproject.toml --output-file $(PRODUCTION)
	$(LOCK) --extra dev pyproject.toml --constraint $(PRODUCTION) --output-file requirements/development.lock
	$(LOCK) requirements/build.in --output-file requirements/build.lock
	$(LOCK) requirements/tools.in --output-file requirements/tools.lock

audit: $(TOOLS)/.installed ## ask PyPI whether anything in requirements/*.lock has known vulnerabilities
	$(TOOLS)/pip-audit --vulnerability-service pypi --strict --disable-pip --require-hashes --progress-spinner off \
		$(foreach it,$(wildcard requirements/*.lock),--requirement $(it)) $(ARGS)

sbom: $(TOOLS)/.installed ## write build/sbom.json, what the image holds: CycloneDX
	@mkdir -p build
	$(TOOLS)/cyclonedx-py requirements $(PRODUCTION) --pyproject pyproject.toml --mc-type application \
		--output-reproducible --output-file build/sbom.json

DB ?= sqlite
KILLS ?= 100
SECONDS ?= 600
EXECUTOR ?= thread
SHAPE ?= mixed
chaos: $(BIN)/.developing ## kill and cut off a private Penstock, then check it: DB KILLS SECONDS SEED EXECUTOR SHAPE
	@nice $(BIN)/python -m tests.chaos --db $(DB) --kills $(KILLS) --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) \
		--executor $(EXECUTOR) --shape $(SHAPE) $(ARGS)

clean: ## remove the environment and what tools leave behind
	rm -rf $(VENV) $(VENV)-tools build .pytest_cache .mypy_cache .ruff_cache .hypothesis
