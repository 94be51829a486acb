# Two commands: `make demo` repairs a network, `make test` runs the tests. Both make .venv first, if need be.
PYTHON ?= python3
RUN := .venv/bin/python
STAMP := .venv/installed
CONSTRAINTS := $(shell $(PYTHON) -c 'import sys; print("constraints/py311.txt" if sys.version_info < (3, 12) else "constraints/py312.txt")')

.PHONY: demo test lint

demo: $(STAMP)
	$(RUN) -m archrepair_jax.main --config configs/digits.py --workdir runs/demo

test: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pytest -n 2 --dist loadgroup

$(STAMP): setup.cfg constraints/py311.txt constraints/py312.txt
	test -x $(RUN) || $(PYTHON) -m venv .venv
	$(RUN) -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e '.[test]'
	touch $@
