# `make demo` and `make test` are each the whole of it on a fresh machine. Everything generated is in .cellwave/.
PYTHON ?= python3
VENV := .cellwave/venv/bin

.PHONY: demo test bench lint clean setup yaml postgres browser lock

demo: setup
	$(VENV)/cellwave demo

test: lint yaml postgres browser
	$(VENV)/python -m pytest

bench: setup
	$(VENV)/python -m bench

lint: setup
	$(VENV)/ruff check
	$(VENV)/ruff format --check
	$(VENV)/mypy
	$(VENV)/lint-imports

setup:
	@$(PYTHON) tools/bootstrap.py

# What the engine runs YAML programs with, where Pulumi's own installer left none: a minute, once.
yaml: setup
	@$(VENV)/python -P -m cellwave.toolchain yaml

# What the tests of a shared database start, where the machine has none: Debian's packages, unpacked, in seconds, once.
postgres: setup
	@$(VENV)/python -m tests.postgres.install

# What the tests of pages drive, where the machine has none: Debian's packages, unpacked, in seconds, once. Where there
# are none either, those tests are passed over and say so.
browser: setup
	@$(VENV)/python -m tests.browser.install || true

# A removed folder would leave its processes running; a half-made environment has none.
clean:
	@if [ -e .cellwave/venv/cellwave-setup.json ]; then $(VENV)/python -P tools/clean.py; fi
	rm -rf .cellwave

# Renew the lock files after a change of pyproject.toml (add `--upgrade` for newer versions).
lock: setup
	$(VENV)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
		--all-extras pyproject.toml -o requirements.lock
