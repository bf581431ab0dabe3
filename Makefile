# Every target makes its own virtual environment: nothing is needed but Python 3.11+ and make.
# PYTHON=python3.x names the Python to use; otherwise the quickest of the machine is taken.
BOOTSTRAP = $(or $(PYTHON),python3) bootstrap.py
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TOOLS := .venv-tools
PEER := .venv-peer
FUZZ := .venv-fuzz
FUZZ_SECONDS ?= 300

.PHONY: help demo up tools check test bench fuzz docs format clean
help: ## Show the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(STAMP): pyproject.toml
	$(BOOTSTRAP) $(VENV) $(PYTHON)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	@touch $@

# The ecosystem's own tools, each pinning its own botocore, in environments of their own.
$(TOOLS)/.installed:
	$(BOOTSTRAP) $(TOOLS)/aws $(PYTHON) && $(TOOLS)/aws/bin/python -m pip install --quiet --disable-pip-version-check awscli
	$(BOOTSTRAP) $(TOOLS)/sam $(PYTHON) && $(TOOLS)/sam/bin/python -m pip install --quiet --disable-pip-version-check aws-sam-cli
	@touch $@

# Clients that tests/clients drives. JavaScript's is for machines with Node.js; elsewhere its tests are skipped.
$(TOOLS)/clients/.installed: tests/clients/requirements.txt
	$(BOOTSTRAP) $(TOOLS)/clients $(PYTHON) && $(TOOLS)/clients/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(TOOLS)/node/.installed: tests/clients/package.json tests/clients/package-lock.json
	mkdir -p $(TOOLS)/node && cp $^ $(TOOLS)/node
	! command -v npm >/dev/null || { npm ci --prefix $(TOOLS)/node --silent --no-audit --no-fund && touch $@; }

$(PEER)/.installed:
	$(BOOTSTRAP) $(PEER) $(PYTHON) && $(PEER)/bin/python -m pip install --quiet --disable-pip-version-check 'ministack==1.5.33' boto3
	@touch $@

demo: $(STAMP) ## Start Penstock, deploy the orders application, send 1,000 orders
	$(BIN)/penstock demo

up: $(STAMP) ## Start Penstock on http://127.0.0.1:4566
	$(BIN)/penstock up

tools: $(TOOLS)/.installed ## Install the AWS CLI and SAM into .venv-tools/aws/bin and .venv-tools/sam/bin

check: $(STAMP) ## Format, lint, types, layers, architecture
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/architecture

test: $(STAMP) $(TOOLS)/.installed $(TOOLS)/clients/.installed $(TOOLS)/node/.installed ## The whole test suite
	$(BIN)/pytest -n 2 --dist loadfile

bench: $(STAMP) $(PEER)/.installed ## Penstock, a peer and the machine's limit, side by side
	$(BIN)/python -m bench

$(FUZZ)/.installed: pyproject.toml
	$(BOOTSTRAP) $(FUZZ) $(PYTHON)
	$(FUZZ)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(FUZZ)/bin/python -m pip install --quiet --disable-pip-version-check --editable . --group dev 'atheris>=3'
	@touch $@

fuzz: $(FUZZ)/.installed ## Coverage-guided fuzzing for FUZZ_SECONDS (300)
	$(FUZZ)/bin/python -m tests.gateway.coverage_fuzz $(FUZZ)/corpus -max_total_time=$(FUZZ_SECONDS) -timeout=20 -rss_limit_mb=2048 -artifact_prefix=$(FUZZ)/

docs: $(STAMP) ## Rewrite the tables of what is built
	$(BIN)/python -m tests.docs.parity

format: $(STAMP) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove the virtual environments and caches
	rm -rf $(VENV) $(TOOLS) $(PEER) $(FUZZ) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
