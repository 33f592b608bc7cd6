# `make demo` and `make test` are what a new user needs; `make lint`, `make types`, `make docs` and `make coverage` are what
# CI adds.
# Each makes .venv once; a later call goes straight to work.

PYTHON ?= python3
BIN := .venv/bin
PROJECT := setup.cfg pyproject.toml __init__.py
# tests of one file share what they set up, so a file stays in one process, and tests/conftest.py says which files begin
# first; two processes with several threads each would wait for each other
TESTS := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile \
  --no-loadscope-reorder

.PHONY: demo test coverage lint types docs clean

demo: .venv/installed
	@if [ -e demo ]; then echo "== removing the previous demo/"; rm -rf demo; fi
	@echo "== running the demo: a generated cohort, SVM, k-NN and a small network (a few minutes)"
	@$(BIN)/leukobench demo -o demo --jobs 2

test: .venv/installed-test
	@echo "== running the tests"
	@$(TESTS)

coverage: .venv/installed-test
	@echo "== running the tests and measuring which lines they reach"
	@$(TESTS) --cov --cov-report=term:skip-covered

lint: .venv/installed-test
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports --no-logo

# mypy takes a package's name from its folder, and a clone may be called anything: hence a link named leukobench
types: .venv/installed-test
	@mkdir -p .venv/types
	@ln -sfn "$(CURDIR)" .venv/types/leukobench \
	  || { echo "make types needs symbolic links; without them, clone into a folder named leukobench and run, beside it:"; \
	       echo "mypy --config-file leukobench/pyproject.toml -p leukobench"; exit 1; }
	@cd .venv/types && "$(CURDIR)/$(BIN)/python" -m mypy --config-file leukobench/pyproject.toml -p leukobench

# strict: a link or an anchor that leads nowhere is an error
docs: .venv/installed-docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "== site/index.html"

clean:
	rm -rf .venv demo build dist site htmlcov .coverage *.egg-info

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

.venv/installed-docs: .venv/installed-test
	@echo "== installing what makes the site"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@
