# Every target sets itself up in .venv; nothing outside this folder is touched.
#   make demo   score the sample file and explain one text
#   make test   lint, types and tests
#   make lint   lint and types alone
#   make test-slow   the suites in tests/slow, which make test leaves out
# PYTHON=/path/to/python3.12 chooses the interpreter.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.PHONY: demo test test-slow lint clean

VENV := .venv
BIN := $(VENV)/bin
BASE := $(VENV)/.base
READY := $(VENV)/.ready
SLOW := $(VENV)/.slow
PYTHON ?=

demo: $(BASE)
	@mkdir -p out
	$(BIN)/outsourcing-classifier score notebooks/sample_activities.csv -o out/sample_scored.csv --overwrite --summary
	printf '\n%s\n\n' 'Written to out/sample_scored.csv. One of the texts explained:'
	$(BIN)/outsourcing-classifier explain "Externalització de la gestió de nòmines; no inclou assessorament jurídic."

test: lint
	$(BIN)/python -m pytest

test-slow: $(SLOW)
	$(BIN)/python -m pytest tests/slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) out build .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info

$(BASE): pyproject.toml setup.py $(wildcard outsourcing_classifier/*.c outsourcing_classifier/*.h)
	@new_enough='import sys; sys.exit(sys.version_info < (3, 11))'
	python=''
	for candidate in $(PYTHON) python3.14 python3.13 python3.12 python3.11 python3; do
	    if command -v "$$candidate" >/dev/null && "$$candidate" -c "$$new_enough" 2>/dev/null; then
	        if "$$candidate" -c 'import venv, ensurepip' 2>/dev/null; then python=$$candidate; break; fi
	        without=$${without:-$$candidate}
	    fi
	done
	if [ -z "$$python" ]; then
	    if [ -n "$${without:-}" ]; then
	        echo "$$without is there, but its venv module is not. On Debian: apt install $$(basename "$$without")-venv" >&2
	    else
	        echo "No Python 3.11 or newer found. Set PYTHON=/path/to/python3.11, or on Debian: apt install python3 python3-venv" >&2
	    fi
	    exit 1
	fi
	if ! { $(BIN)/python -c "$$new_enough" && $(BIN)/python -m pip --version; } >/dev/null 2>&1; then
	    echo "Making $(VENV) with $$("$$python" --version)" >&2
	    rm -rf $(VENV)
	    "$$python" -m venv $(VENV)
	fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(READY): $(BASE)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@

$(SLOW): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,slow]'
	touch $@
