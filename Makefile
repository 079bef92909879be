# make run, make test: nothing but Python 3.11, git and make is needed; the set-up is done once.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: run test check figures notebooks report format bench mutants clean

run: $(READY)
	$(BIN)/python -m toy.run --manifold ring --score analytic --out runs/ring --overwrite

test: $(READY)
	$(BIN)/python -m pytest -n 2

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# make figures ONLY=saturation draws one; FRESH=1 forgets what was computed before
figures: $(READY)
	$(BIN)/python -m figures $(if $(ONLY),--only $(ONLY)) $(if $(FRESH),--fresh)

notebooks: $(READY)
	$(BIN)/python -m figures.notebooks $(if $(ONLY),--only $(ONLY))

report: $(READY)
	$(BIN)/python -m figures.report

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# prints the costs of theory, toy and images, and keeps them as ROOM/results/bench.json
bench: $(READY)
	$(BIN)/python -m figures.bench

mutants: $(READY)
	$(BIN)/python -m tests.mutation

$(READY): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "python 3.11 or newer is wanted; given: " + sys.version.split()[0] + " (make PYTHON=python3.11 run)")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check torch -c constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) out build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
