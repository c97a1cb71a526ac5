# Makes the virtual environment and hands over to `ml-service`, which knows how everything is done.
PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
INSTALLED_BENCH := $(VENV)/.installed-bench
# Programs name their interpreter, which is not there any more once the project's folder was renamed.
MOVED := $(shell named="$$(head -n 2 $(VENV)/bin/ml-service 2>/dev/null | grep -o "/[^'\"]*python[0-9.]*" | head -n 1)"; \
  test -z "$$named" -o -x "$$named" || echo moved)
CHAOS := tests/api/test_record_trouble.py tests/e2e/test_killed_processes.py tests/e2e/test_engine_deaths.py \
  tests/e2e/test_stopping.py tests/e2e/test_bad_input.py tests/handlers/test_large_jpeg.py tests/fuzz \
  tests/e2e/test_overload.py

.PHONY: help serve test scale-test chaos soak archive bench check clean moved

help:
	@echo 'make serve       run the service; prints its address once a prediction can be served'
	@echo 'make test        lint, types and all tests'
	@echo 'make scale-test  replicas behind HAProxy, stopped and killed under load, and what each adds'
	@echo 'make chaos       the tests that pull plugs and send garbage, at full length'
	@echo 'make soak        ten minutes of everything at once, with what is held printed as it goes'
	@echo 'make archive     build the model archive anew'
	@echo 'make bench       measure the service beside its ceiling and its peers'
	@echo 'make check       lint and types'
	@echo 'make clean       remove logs, caches and temporary files; databases, archives and secrets stay'

# exec: signals reach the command itself.
serve test archive check: $(INSTALLED)
	@exec $(VENV)/bin/ml-service $@

scale-test: $(INSTALLED)
	@exec $(VENV)/bin/pytest -m replicas tests/replicas

chaos: $(INSTALLED)
	@FUZZ_CASES=20000 FUZZ_EXAMPLES=400 exec $(VENV)/bin/pytest -m 'not replicas and not containers' $(CHAOS)

soak: $(INSTALLED)
	@exec $(VENV)/bin/pytest -s -m scale tests/e2e/test_soak.py

bench: $(INSTALLED_BENCH)
	@exec $(VENV)/bin/ml-service bench

# The peers that are measured, which nothing else needs.
$(INSTALLED_BENCH): $(INSTALLED)
	@$(VENV)/bin/uv pip install --python $(VENV)/bin/python -c constraints.txt -e '.[serve,dev,bench]'
	@touch $@

# Touched last, so that an interrupted installation is done again.
$(INSTALLED): pyproject.toml constraints.txt $(if $(MOVED),moved)
	@command -v $(PYTHON) >/dev/null || { echo '$(PYTHON) not found: install Python 3.11 or later, or name it with PYTHON=...' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, $(PYTHON) is %d.%d: name another with PYTHON=..." % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo '$(PYTHON) cannot make virtual environments: install its venv package (Debian: python3-venv)' >&2; exit 1; }
	@test -z '$(MOVED)' || echo 'The project was moved: installing anew'
	@{ test -z '$(MOVED)' && $(VENV)/bin/python -m pip --version >/dev/null 2>&1; } || $(PYTHON) -m venv --clear $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	@$(VENV)/bin/uv pip install --python $(VENV)/bin/python -c constraints.txt -e '.[serve,dev]'
	@touch $@

clean: $(if $(MOVED),$(INSTALLED))
	@test ! -x $(VENV)/bin/ml-service || exec $(VENV)/bin/ml-service clean
