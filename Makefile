# Two commands: `make demo` repairs a network, `make test` runs the tests. Both make .venv first, if need be.
PYTHON ?= python3
RUN := .venv/bin/python
STAMP := .venv/installed

.PHONY: demo test

demo: $(STAMP)
	$(RUN) -m archrepair_jax.main --config configs/digits.py --workdir runs/demo

test: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pytest -n 2 --dist loadgroup

$(STAMP): setup.cfg constraints.txt
	test -x $(RUN) || $(PYTHON) -m venv .venv
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@
