# `make help` lists the targets. They need Python 3.11 and git; everything else is installed by them.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
INSTALLED := .venv/.installed

.PHONY: help run test lint bench

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile

run: $(INSTALLED)  ## start the gateway, with the sandbox if no MiniMax key is set
	@.venv/bin/python scripts/run.py

test: lint  ## run the linters and all tests; ARGS="-k name" passes arguments to pytest
	@scripts/install-test-tools
	.venv/bin/pytest -n 2 --cov --cov-report=term-missing:skip-covered $(ARGS)

bench: $(INSTALLED)  ## compare with LiteLLM, Portkey and nginx in under ten minutes (docs/benchmarks.md)
	@scripts/install-bench-tools
	@.venv/bin/python -m bench $(ARGS)

lint: $(INSTALLED)  ## run ruff and mypy
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

$(INSTALLED): requirements.txt requirements-dev.txt scripts/create-venv
	@scripts/create-venv "$(PYTHON)"
	@touch $@
