# `make run` and `make test` need Python 3.11 or newer and nothing else.

PYTHON := $(shell for python in python3.13 python3.12 python3.11 python3 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
DEPLOYED := .venv-deployed
BIN := $(VENV)/bin
export PORT ?= 8000
# Test processes: most tests wait for something, so a few more than the cores are well used.
PROCESSES ?= 3
# Whatever else is set here or in .env: an SQLite file of its own, one process, this machine only.
TRYOUT := DATABASE_URL= REDIS_URL= WEB_CONCURRENCY=1 BIND=127.0.0.1:$(PORT)

.PHONY: run test browser drill screenshots faults bench bench-peers bench-growth bench-soak bench-users bench-profile bench-console check secrets audit format lock

run: $(VENV)/.run
	@$(TRYOUT) $(BIN)/python manage.py migrate --verbosity 0
	@$(TRYOUT) $(BIN)/python manage.py demo
	@exec env $(TRYOUT) $(BIN)/gunicorn remind_site.wsgi

test: $(VENV)/.dev
	@$(BIN)/python -m pytest -n $(PROCESSES) --dist worksteal $(ARGS)

# In Debian's chromium, or the one that CHROMIUM names; skipped where there is none.
browser: $(VENV)/.dev
	@$(BIN)/python -m pytest tests/browser $(ARGS)

# Load while everything dies; SEEDS=20 for more, ARGS="--first 7" to begin with another seed.
faults: $(VENV)/.dev
	@$(BIN)/python -m tests.storm --seeds $(or $(SEEDS),3) $(ARGS)

# How fast, beside bare views, and beside LiteLLM's proxy (which it installs into .venv-peers); under 10 minutes each, on a
# machine that does nothing else. The service has an environment of its own, without what tests need: it would weigh on it. docs/benchmarks/ is written. ARGS="--seconds 2 --rounds 1 --out /tmp/b" only to try.
bench: $(VENV)/.dev $(DEPLOYED)/.run
	@$(BIN)/python -m tests.load paid $(ARGS)

bench-peers: $(VENV)/.dev $(DEPLOYED)/.run
	@$(BIN)/python -m tests.load peers $(ARGS)

# With ten million ledger entries (up to 40 minutes and 15 GB of disk); 10 minutes on end; 1,000 users for 3 minutes;
# where the time goes.
bench-growth bench-soak bench-users bench-profile: bench-%: $(VENV)/.dev $(DEPLOYED)/.run
	@$(BIN)/python -m tests.load $* $(ARGS)

# The console with 100,000 licenses and 1,000,000 entries: what each page asks and reads, and its milliseconds (3 minutes).
bench-console: $(VENV)/.dev
	@CONSOLE_FULL_SIZE=1 $(BIN)/python -m pytest -n0 -q -s --show-capture=no tests/console/test_scale.py $(ARGS)

# Point-in-time recovery, on a PostgreSQL of its own; needs Debian's pgbackrest and postgresql.
drill: $(VENV)/.run
	@command -v pgbackrest > /dev/null || { echo "pgbackrest is not installed here: the drill is skipped."; exit 0; }; \
	$(BIN)/python manage.py recovery_drill

# The handbook's pictures; EVERY=/tmp/shots for every page, narrow and wide, light and dark, to be looked at there.
screenshots: $(VENV)/.dev
	@EVERY=$(EVERY) $(BIN)/python -m pytest -p no:randomly tests/browser/screenshots.py

check: $(VENV)/.dev secrets
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/bandit -q -r . -c pyproject.toml
	$(BIN)/mypy .
	$(BIN)/lint-imports --no-cache
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python -m pytest -q --no-header tests/remind_site/test_checks.py tests/deploy/test_migrations.py -k "clean or without_any or older_code"

# Keys and tokens in what is, or is about to be, in git. A line that only looks like one ends with
# `pragma: allowlist secret`. Tests name passwords of their own, so that kind is looked for elsewhere only.
SCAN := detect-secrets-hook --no-verify --plugin .ci/secret_kinds.py --exclude-secrets '^(password|user:password)$$'
FILES := git ls-files -z --cached --others --exclude-standard --deduplicate

secrets: $(VENV)/.dev
	@$(FILES) -- ':!tests' ':!requirements*.txt' | xargs -0 $(BIN)/$(SCAN)
	@$(FILES) -- tests | xargs -0 $(BIN)/$(SCAN) --disable-plugin KeywordDetector

# Published advisories about what runs. Needs PyPI itself, or `make audit SERVICE=osv`; a mirror knows of none.
SERVICE := pypi
audit: $(VENV)/.dev
	@$(BIN)/pip-audit --strict --vulnerability-service $(SERVICE) --disable-pip --no-deps --progress-spinner off \
		-r requirements.txt || { echo "There are advisories, or (where it says so above) no service that knows \
	of any could be asked: then nothing was audited." >&2; exit 1; }

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Pins what pyproject.toml declares, for all systems and Pythons at once.
lock: $(VENV)/.dev
	$(BIN)/uv pip compile -q --universal --python-version 3.11 pyproject.toml -o requirements.txt $(ARGS)
	$(BIN)/uv pip compile -q --universal --python-version 3.11 pyproject.toml --extra dev -c requirements.txt -o requirements-dev.txt $(ARGS)

$(BIN)/python $(DEPLOYED)/bin/python: %/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and was not found." >&2; exit 1; }
	@echo "Making $* with $(PYTHON) ..."
	@$(PYTHON) -m venv $*

$(VENV)/.run $(DEPLOYED)/.run: %/.run: requirements.txt | %/bin/python
	@echo "Installing what runs ..."
	@$*/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	@echo "Installing what tests ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
