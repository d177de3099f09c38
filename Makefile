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

.PHONY: wheelhouse
wheelhouse: venv ## the wheels that a gateway gets, Debian 12 and 13, from the locks (cached by content)
	@.venv/bin/python agent/wheelhouse
	@.venv/bin/python agent/wheelhouse --target cp313-x86_64

.PHONY: parts
parts: need-root wheelhouse ## the lab's tools, binaries and Debian roots (a quarter of an hour on a new machine with 2 cores)
	@.venv/bin/lab build

.PHONY: demo test lint readmes unit lab-test molecule bench bench-cut bench-fleet bench-site need-root
need-root:
	@[ "$$(id -u)" = 0 ] || { echo "This needs root (network namespaces, mounts, systemd hosts): sudo make $(MAKECMDGOALS)"; exit 1; }

demo: need-root wheelhouse ## a lab, a blank gateway, one window through it; figures in build/demo.json (KEEP=1: leave the lab up)
	@.venv/bin/python -m demo

# The parts first: without them the unit tests of the kernel gate and of the feed have to skip.
test: parts unit lab-test molecule requirements ## every test, from unit to Molecule

unit: venv ## the tests that need no lab, on two cores
	@mkdir -p build
	@.venv/bin/pytest tests/unit -n 2 --dist loadfile --no-loadscope-reorder --junit-xml=build/unit.xml

# In the order of the files: what is about a blank gateway comes first.
lab-test: need-root wheelhouse ## the tests against the lab, in two labs side by side
	@mkdir -p build
	@.venv/bin/pytest tests/lab -n 2 --dist loadfile --no-loadscope-reorder --junit-xml=build/lab.xml

molecule: need-root wheelhouse ## the roles on two blank gateways, each from check mode to removal, side by side
	@.venv/bin/python -m lab.molecule

requirements: venv ## docs/requirements.md from the tags and the last results
	@.venv/bin/python -m tests.requirements build/*.xml

readmes: venv ## the variables in the roles' READMEs, from their specifications
	@.venv/bin/python -m tests.readmes

lint: venv ## ruff, mypy, ansible-lint
	@.venv/bin/ruff check . && .venv/bin/ruff format --check .
	@$(MAKE) --no-print-directory --jobs 2 --output-sync lint-types lint-roles

.PHONY: lint-types lint-roles
lint-types:
	@.venv/bin/mypy agent/src/sightglass lab demo bench ansible/playbooks/library ansible/playbooks/action_plugins ansible/playbooks/filter_plugins ansible/playbooks/module_utils roles/sightglass_nftables/filter_plugins roles/sightglass_payload/action_plugins tests

lint-roles:
	@.venv/bin/ansible-lint --offline --profile production -q

bench-cut: need-root wheelhouse ## from the end of a permission to the last media byte, by cause
	@.venv/bin/python -m bench.cut

bench-fleet: need-root wheelhouse ## what operators wait for: Ansible's own time for a window, and for a fleet of eight
	@.venv/bin/python -m bench.fleet

bench-site: need-root wheelhouse ## what an installation costs: time, the controller's processors, bytes sent
	@.venv/bin/python -m bench.site

bench: need-root wheelhouse ## the figures of the README, beside plain MediaMTX + ffmpeg
	@.venv/bin/python -m bench
