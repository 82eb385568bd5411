# Everything a newcomer needs: `make demo`, `make test`. Nothing here needs root or a system package.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: demo test check format lock bench clean

demo: $(VENV)/.run
	$(BIN)/harness run scenarios/first-light.yaml

test: $(VENV)/.dev
	$(BIN)/python -m pytest --quiet --numprocesses 2 --dist loadfile tests
	$(BIN)/python -m pytest --quiet scenarios

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev
	$(BIN)/harness bench

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; try: make PYTHON=python3.12 demo" >&2; exit 4; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "this Python cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 4; }

$(VENV)/.run: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

# Pins and hashes only: no index address may enter the lock.
UV_COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-annotate --no-header --no-emit-index-url --no-emit-find-links
lock: $(VENV)/bin/python
	$(PIP) install uv
	$(UV_COMPILE) pyproject.toml --extra build -o requirements.lock
	$(UV_COMPILE) pyproject.toml --extra build --extra dev --extra load -c requirements.lock -o requirements-dev.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
