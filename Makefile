# Two commands: `make demo` repairs a network, `make test` runs the tests; `make check` runs the quick ones. All of them
# make .venv first, if need be.
PYTHON ?= python3
RUN := .venv/bin/python
STAMP := .venv/installed

.PHONY: demo check test benchmark-quick

demo: $(STAMP)
	$(RUN) -m archrepair_jax.main --config configs/digits.py --workdir runs/demo

# The whole path of the benchmark of faulty training programs, in minutes; M2 reads mnist.npz in ARCHREPAIR_DATA.
benchmark-quick: $(STAMP)
	$(RUN) -m archrepair_jax.main --config configs/programs.py:quick --workdir runs/benchmark-quick

# Tests of one file share what they compile, so they share a process. One that dies fails the run: a new one would be
# waited for in vain.
check: SUBSET := -m "not slow"
check test: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m pytest -n 2 --dist loadfile --max-worker-restart 0 $(SUBSET)

$(STAMP): setup.cfg constraints.txt
	test -x $(RUN) || $(PYTHON) -m venv .venv
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs,test]'
	touch $@
