# Two commands: `make demo` and `make test`. Both make .venv once; a later call goes straight to work.

PYTHON ?= python3
BIN := .venv/bin
PROJECT := setup.cfg pyproject.toml __init__.py

.PHONY: demo test lint clean

demo: .venv/installed
	@if [ -e demo ]; then echo "== removing the previous demo/"; rm -rf demo; fi
	@echo "== running the demo: a generated cohort, SVM, k-NN and a small network (a few minutes)"
	@$(BIN)/leukobench demo -o demo --jobs 2

test: .venv/installed-test
	@echo "== running the tests"
	@$(BIN)/python -m pytest

lint: .venv/installed-test
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

clean:
	rm -rf .venv demo build dist *.egg-info

.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "leukobench needs Python 3.11 or newer; say which: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "== making .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/installed: .venv/made $(PROJECT)
	@echo "== installing leukobench and what it needs into .venv (about 1 GB to download, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/installed-test: .venv/made $(PROJECT)
	@echo "== installing leukobench, what it needs and the test tools into .venv (about 1 GB to download, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch .venv/installed $@
