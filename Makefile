# The commands of this project. `make up` runs it, `make test` proves it.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=

.PHONY: up test test-compiled compiler compiled test-compiled-relay check audit format bench fuzz wheel clean

up: $(VENV)/.runs
	$(BIN)/gglib up

test: $(VENV)/.tests
	$(MAKE) check
	$(BIN)/pytest -n 3 --dist worksteal $(PYTEST_ARGS)  # three for two cores: many tests wait

# In a copy: sources that stand beside what was compiled of them are not what runs.
COMPILED := build/compiled
# mypyc's coroutines are ended in a way that Python 3.12 warns of, and tests take a warning for an error.
COMPILED_PYTEST := pytest -n 2 --dist worksteal \
	-W "ignore:the (type, exc, tb) signature of throw:DeprecationWarning"
test-compiled:
	rm -rf $(COMPILED) && mkdir -p $(COMPILED)
	git ls-files -z | tar --null -T - -cf - | tar -xf - -C $(COMPILED)
	GGLIB_COMPILE=1 $(MAKE) -C $(COMPILED) VENV=.venv .venv/.tests
	cd $(COMPILED) && .venv/bin/python -m $(COMPILED_PYTEST) $(PYTEST_ARGS)

# The relay's own tests against modules that are compiled in haste, with what the other tests have.
COMPILER := $(CURDIR)/build/compiler
RELAY_TESTS := tests/unit/test_http1_*.py tests/unit/test_rate_limits*.py tests/unit/test_usage.py \
	tests/unit/test_tally.py tests/unit/test_sweep.py tests/integration/relay \
	--ignore=tests/integration/relay/test_relay_over_tls.py
compiler: $(VENV)/.tests
	$(BIN)/python -m pip install --quiet --upgrade --target $(COMPILER) 'setuptools>=77' \
		"$$($(BIN)/python -c 'import hatch_build; print(hatch_build.COMPILER)')"

compiled:
	rm -rf $(COMPILED) && mkdir -p $(COMPILED)
	git ls-files -z | tar --null -T - -cf - | tar -xf - -C $(COMPILED)
	cd $(COMPILED) && PYTHONPATH=$(COMPILER) $(abspath $(BIN))/python hatch_build.py

test-compiled-relay:
	cd $(COMPILED) && $(abspath $(BIN))/python -m $(COMPILED_PYTEST) $(RELAY_TESTS)

check: $(VENV)/.tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

# Not among the dependencies of the tests, which have to run without a network.
audit: $(VENV)/.tests
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/python -m pip freeze --exclude-editable | \
		$(BIN)/pip-audit --strict --no-deps --disable-pip --progress-spinner off -r /dev/stdin

format: $(VENV)/.tests
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.tests
	$(BIN)/python -m benchmarks

# atheris has wheels for some Pythons only, and so it is no dependency of the tests.
SECONDS ?= 60
fuzz: $(VENV)/.tests
	$(BIN)/python -m pip install --quiet atheris
	for target in head body response event_stream; do \
		$(BIN)/python -m tests.fuzz $$target tests/fuzz/corpus/$$target -max_len=400 \
			-max_total_time=$(SECONDS) -artifact_prefix=$$target- || exit 1; \
	done

wheel: $(VENV)/.tests
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) build dist

# The stamps say what is installed; they are older than pyproject.toml when that has changed.
$(VENV)/.pip:
	$(PYTHON) -c 'import sys; sys.exit("gglib needs Python 3.11 or newer; set PYTHON=…") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	touch $@

$(VENV)/.runs: pyproject.toml $(VENV)/.pip
	$(BIN)/python -m pip install --quiet --editable '.[embedded]'
	touch $@

$(VENV)/.tests: pyproject.toml $(VENV)/.runs
	$(BIN)/python -m pip install --quiet --group dev
	touch $@
