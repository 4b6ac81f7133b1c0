# One word for each task; each makes .venv first if it is missing or the requirements changed.
# Needs Python 3.11 or newer, make, and a package index as pip is configured for.
# Another Python: make PYTHON=/path/to/python3.12. Short forms of long tasks: SHORT=1. All tests in
# their long form: make test LONG=1.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# Two installations at once into one .venv would break it.
.NOTPARALLEL:

PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11, \
	$(shell $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
# Programs are run as modules: a script's first line has no room for a long path.
RUN := .venv/bin/python -m
# Tests that wait, for a daemon's tick, a process's end or a time limit, leave their cores to others.
# A worker takes half a gigabyte of memory.
WORKERS ?= $(shell expr $$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN) + 4)
# No package index may be named in a committed file. pip, unlike uv, wants the extras pinned by name.
COMPILE := $(RUN) uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-strip-extras --no-emit-index-url --no-header --no-annotate
export SHORT LONG

.PHONY: help install demo test package-test lint docs bench boards chaos chaos-day texts mutation dist pythons lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

install: .venv/installed ## .venv with the callkeeper command: .venv/bin/callkeeper

demo: .venv/installed ## two simulated accounts, a month of calls, from API to tables
	$(RUN) callkeeper_assets.cli.main demo $(ARGS)

test: .venv/installed-dev ## all tests but the long ones and the package's; with LONG=1 those too
	@# Hundreds of processes: where Python may not write bytecode, each would compile all of it.
	@$(RUN) compileall -q callkeeper_assets callkeeper_assets_tests
	$(RUN) pytest -n $(WORKERS) --dist worksteal $(if $(LONG),,-m "not package") callkeeper_assets_tests

package-test: .venv/installed-dev ## the wheel, dg, and projects of others with our sources in them
	$(RUN) pytest -n 2 --dist worksteal -m package \
		$(addprefix callkeeper_assets_tests/,hosts release test_source.py)

lint: .venv/installed-dev ## style, types, and layers of packages
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) mypy boards/superset/bundle.py
	.venv/bin/python -c 'from importlinter.cli import lint_imports_command as run; run()' --no-cache

docs: .venv/installed-docs ## the documentation as a site in build/site, its links checked
	$(RUN) callkeeper_assets_tests.site

bench: .venv/installed-dev ## speed and memory, beside other loaders; results in bench-results/
	FORMER=$(FORMER) $(RUN) callkeeper_assets_tests.benchmarks $(ARGS)

boards: .venv/installed-dev ## import the boards into a real Superset, and look at them
	LONG=1 $(RUN) pytest -n 0 callkeeper_assets_tests/boards

chaos: .venv/installed-dev ## kills and faults at every step, the long form
	LONG=$(if $(SHORT),,1) $(RUN) pytest $(addprefix callkeeper_assets_tests/,chaos workers \
		assets/test_cut_connections.py backup/test_lost_machine.py webhooks/test_away.py)

texts: .venv/installed-dev ## collect what is to be translated, compile what is
	$(RUN) callkeeper_assets_tests.texts

chaos-day: .venv/installed-dev ## a day of operation in minutes, one fault after another; ARGS=--help
	$(if $(SHORT),LONG=1 $(RUN) pytest callkeeper_assets_tests/chaos/test_day.py, \
		$(RUN) callkeeper_assets_tests.chaos.day $(ARGS))

mutation: .venv/installed-dev ## plant faults in six areas, and count those that their tests notice
	[ -x build/mutation/bin/python ] || { .venv/bin/python -m venv build/mutation && \
		build/mutation/bin/python -m pip install --quiet cosmic-ray==8.7.0; }
	build/mutation/bin/python callkeeper_assets_tests/mutation/__main__.py $(ARGS)

dist: .venv/installed-dev ## wheel and sdist in dist/, an SBOM, all checked: docs/releasing.md
	$(RUN) callkeeper_assets_tests.release $(ARGS)

pythons: .venv/installed-dev ## all tests on each Python that is declared and is here
	$(RUN) callkeeper_assets_tests.release.pythons $(ARGS)

lock: .venv/installed-dev ## pin requirements anew
	printf 'editables\nhatch-vcs\nhatchling\nsetuptools-scm\n' | $(COMPILE) pyproject.toml - --output-file requirements.txt
	$(COMPILE) --group dev --constraint requirements.txt --output-file requirements-dev.txt
	$(COMPILE) --group release --constraint requirements-dev.txt --output-file requirements-release.txt
	$(COMPILE) --group docs --constraint requirements-dev.txt --output-file requirements-docs.txt

clean: ## delete .venv and caches; the home (.callkeeper), with its data, stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	find callkeeper_assets callkeeper_assets_tests -name __pycache__ -prune -exec rm -rf {} +

.venv/installed: requirements.txt pyproject.toml
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or newer is needed and was not found." \
		"Install it, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
		"Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; exit 1; }
	@rm -f $@ $@-dev $@-docs
	@echo "Installing into .venv; this takes a minute or two."
	@# One that was left half-made has no pip, and is made whole.
	@.venv/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv || { echo \
		"On Debian and Ubuntu, venv is a package of its own: apt-get install python3-venv," \
		"then the same again." >&2; exit 1; }
	$(RUN) pip install --quiet --require-hashes -r requirements.txt
	$(RUN) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt
	$(RUN) pip install --quiet --require-hashes -r requirements-dev.txt
	@touch $@

.venv/installed-docs: .venv/installed requirements-docs.txt
	$(RUN) pip install --quiet --require-hashes -r requirements-docs.txt
	@touch $@
