# make run, make test: all that a newcomer types. Nothing is installed but into .venv, except by `make test` as root on
# Debian. Nothing is installed anew unless pyproject.toml has changed.
.POSIX:
.PHONY: help run test lint bench clean packages

PYTHON =
ARGS =
# Tests at once: more than most machines have cores, since many of them wait for a server.
TESTERS = 4
BIN = .venv/bin

help:
	@echo 'make run     install into .venv and start a gateway with a pretend API and ready-made tokens'
	@echo 'make test    install what the tests need and run all of them, with coverage'
	@echo 'make lint    style, types and who imports whom'
	@echo 'make bench   speed, side by side with Envoy'
	@echo 'make clean   remove what these made, but not the tokens of make run (.gateway-dev)'
	@echo
	@echo 'ARGS is handed on: make run ARGS="--port 9090", make test ARGS="--exitfirst"'
	@echo 'Some tests only, without the bar for coverage: .venv/bin/pytest tests/settings'
	@echo 'PYTHON chooses the interpreter: make run PYTHON=python3.12'

run: .venv/.run
	@exec $(BIN)/gateway dev $(ARGS)

test: .venv/.test packages
	rm -f .coverage .coverage.*
	$(BIN)/python -m pytest --numprocesses=$(TESTERS) --dist=worksteal --cov --cov-report= $(ARGS)
	$(BIN)/coverage report --fail-under=92
	$(BIN)/coverage report --include='gateway/core/*' --fail-under=100

lint: .venv/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.run
	sh bench/install.sh
	$(BIN)/python bench/run.py $(ARGS)

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.* build dist
	find . -name __pycache__ -prune -exec rm -rf {} +

# The system's own Python first: distributions build it with profile-guided optimisation, which makes the gateway a third
# faster than the same version compiled without.
$(BIN)/python:
	@python='$(PYTHON)'; \
	if [ -z "$$python" ]; then \
	  python=python3; \
	  /usr/bin/python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && python=/usr/bin/python3; \
	fi; \
	command -v "$$python" >/dev/null || { echo "$$python was not found: install Python 3.11 or newer, or say make PYTHON=..." >&2; exit 1; }; \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "The gateway needs Python 3.11 or newer, and $$python is $$("$$python" -V 2>&1). Say make PYTHON=python3.12, for example." >&2; exit 1; }; \
	"$$python" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo 'Python cannot make virtual environments here; on Debian: apt install python3-venv' >&2; exit 1; }; \
	"$$python" -m venv .venv

.venv/.run: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/.test: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

.venv/.lint: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[lint]'
	@touch $@

# The page of `gateway dev` is tested in a browser, the answers with a JavaScript client's own checks, and the shared store
# on real Redis servers.
packages:
	@missing=; wanted=; \
	for pair in chromedriver:chromium,chromium-driver node:nodejs npm:npm curl:curl redis-server:redis-server \
	            redis-sentinel:redis-sentinel; do \
	  command -v "$${pair%%:*}" >/dev/null && continue; \
	  missing="$$missing $${pair%%:*}"; wanted="$$wanted $$(echo "$${pair##*:}" | tr , ' ')"; \
	done; \
	if [ -z "$$missing" ]; then \
	  :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends $$wanted || { \
	    echo "Could not be installed:$$missing. What needs them is not tested."; test -z "$$CI"; }; \
	else \
	  echo "Not found:$$missing. What needs a browser (chromedriver), npm packages (node, npm) or Redis is not tested."; \
	fi
