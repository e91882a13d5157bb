# make demo [IMAGES=folder]   the real job on a drawn gallery (or on your pictures), against an embedded Cytomine
# make test                   formatting, types, tests (import rules among them)
# make bench                  the figures of the README and the CHANGELOG, where these say nothing else (hours)
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
IMAGES ?=

.PHONY: demo test lint bench lock
demo: $(VENV)/runtime
	$(BIN)/python -m annotator demo --out out/demo $(if $(IMAGES),--images "$(IMAGES)")

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile -q

lint: $(VENV)/development
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/development
	$(BIN)/python -m benchmarks

# Exact versions with checksums. Run after changing pyproject.toml.
lock: $(VENV)/development
	$(BIN)/uv pip compile -q pyproject.toml --python-version 3.11 --generate-hashes --no-header --extra style -o requirements.lock
	$(BIN)/uv pip compile -q pyproject.toml --python-version 3.11 --generate-hashes --no-header -c requirements.lock --extra dev -o requirements-dev.lock
	$(BIN)/uv pip compile -q pyproject.toml --python-version 3.11 --generate-hashes --no-header -c requirements.lock --extra style --extra gpu -o requirements-gpu.lock
	$(BIN)/uv pip compile -q pyproject.toml --python-version 3.11 --generate-hashes --no-header -c requirements.lock --extra style --extra cluster -o requirements-cluster.lock

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/runtime: requirements.lock | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	touch $@

$(VENV)/development: requirements-dev.lock | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	touch $@ $(VENV)/runtime
