# The first call makes .venv and installs into it; later calls find it up to date and start at once.
PYTHON ?= python3
UV_VERSION = 0.13.8
BIN = .venv/bin
READY = .venv/.ready
TOGETHER = --numprocesses 2 --dist loadfile

.PHONY: demo test check clocks lint format bench bench-gpu install lock

demo: $(READY)
	@$(BIN)/restage demo

# Two processes: most tests compute on one thread.
test: $(READY)
	@$(BIN)/pytest $(TOGETHER)

# Everything, also the tests that wait for minutes, and what looks at dates at other times.
check: lint
	@$(BIN)/pytest $(TOGETHER) -m 'long or not long'
	@$(MAKE) --no-print-directory clocks

CLOCKS = '+40 days' 2026-12-31T23:59 2027-03-28T01:45 2027-10-31T02:30 2028-02-29T23:40
DATED = tests/tasks tests/flows tests/board

# The tests of whatever looks at dates, at times at which dates are awkward.
clocks: $(READY)
	@for clock in $(CLOCKS); do \
		echo "at $$clock"; \
		$(BIN)/pytest $(TOGETHER) --quiet --clock "$$clock" -m 'not long and not browser' $(DATED) || exit 1; \
	done

lint: $(READY)
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(READY)
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

bench: $(READY)
	@$(BIN)/python -m bench

bench-gpu: $(READY)
	@$(BIN)/python -m bench.gpu

install: $(READY)

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "restage needs Python 3.11 or newer: set PYTHON, such as make PYTHON=python3.11")'
	@echo "installing into .venv (several gigabytes the first time)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip install --python $(BIN)/python --require-hashes --requirement requirements.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

# Choose new versions: reads pyproject.toml, writes requirements.txt (names, versions, hashes; no index).
lock: $(READY)
	@$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --quiet --output-file requirements.txt
