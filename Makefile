# Two commands matter: `make demo` runs the main job from a fresh machine, `make test` passes the tests.
SHELL := /bin/sh
PATH := $(CURDIR)/.venv/bin:$(PATH)
export PATH
UV := .venv/bin/uv

.PHONY: help venv
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile

venv: .venv/.ready ## the Python environment, from locks/dev.txt

# uv installs itself from its own lock line; --require-hashes covers it like the rest.
.venv/.ready: locks/dev.txt pyproject.toml agent/pyproject.toml
	./bootstrap
	@touch $@
