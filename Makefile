# Two commands: `make run` and `make test`. Both start from nothing but Python 3.11 and git.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
INSTALLED := .venv/.installed

.PHONY: run test lint bench

run: $(INSTALLED)
	@.venv/bin/python scripts/run.py

test: lint
	@scripts/install-test-tools
	.venv/bin/pytest -n 2 --cov --cov-report=term-missing:skip-covered $(ARGS)

# Beside LiteLLM's proxy, Portkey's gateway and nginx, on loopback, in under ten minutes: docs/benchmarks.md
bench: $(INSTALLED)
	@scripts/install-bench-tools $(findstring gevent,$(ARGS))
	@.venv/bin/python -m bench $(ARGS)

lint: $(INSTALLED)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

$(INSTALLED): requirements.txt requirements-dev.txt scripts/create-venv
	@scripts/create-venv "$(PYTHON)"
	@touch $@
