# Two commands do everything: `make run` and `make test`. `make help` lists the rest.
PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.dev
MODULES := clients/node_modules/.package-lock.json
CHAOS   := .liveroom/chaos.json

.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Running needs less than developing: each has a stamp, so that `make run` starts soon.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(STAMP): pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.run

setup: $(STAMP) ## Make .venv and install everything into it

run: $(VENV)/.run ## Start the engine with its own store and a demo room
	@$(BIN)/liveroom serve --dev --demo --data .liveroom

test: $(STAMP) ## Run the tests, two at a time
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

check: $(STAMP) ## Lint, types, import contracts, layout
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Format the code and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The pages and the TypeScript SDK. Users need none of this: what is built is committed.
$(MODULES): clients/package-lock.json
	cd clients && npm ci --no-audit --no-fund
	@touch $@

assets: $(MODULES) ## Build the pages and the SDK into the engine (npm, Node 20.19 or later)
	@cd clients && npm run --silent build -w web

ifneq ($(shell command -v npm 2>/dev/null),)
check-assets: $(MODULES) ## See that what is committed is what clients/ gives
	@cd clients && npm run --silent check-assets -w web

test-clients: $(MODULES) ## Check the types of the TypeScript clients and run their tests
	cd clients && npm run --silent check && npm test --silent
else
check-assets test-clients:
	@echo "$@: skipped, there is no npm here (Node 20.19 or later)"
endif

pictures: $(STAMP) ## Make docs/images anew: a show in a real browser
	$(BIN)/python -m pytest -q tests/e2e/test_whole_show.py --pictures docs/images

audit: $(STAMP) ## Look for published advisories on what is installed; AUDIT=offline-ok: told, where nobody can be asked
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python .ci/audit.py $(AUDIT)

bench: $(STAMP) ## Measure the rows of docs/benchmarks.md on this machine
	$(BIN)/python -m bench $(ARGS)

chaos: $(STAMP) ## Every fault that docs/faults.md names, with the figures of each (under 10 minutes)
	$(BIN)/python -m bench.show --viewers 400 --rate 150 --seconds 40 --faults
	rm -f $(CHAOS)
	$(BIN)/python -m pytest tests/faults -m "chaos or not chaos" --store redis --faults-json $(CHAOS) $(ARGS)
	$(BIN)/python tests/faults/table.py $(CHAOS)

chaos-docs: $(STAMP) ## Put the tables of the last make chaos into docs/ and README.md
	$(BIN)/python tests/faults/table.py $(CHAOS) --write

clean: ## Remove what setup, run and assets made
	rm -rf clients/node_modules clients/js/dist $(VENV) .liveroom .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

.PHONY: help setup run test check format assets check-assets test-clients pictures audit bench chaos chaos-docs clean
