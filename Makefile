# Every target sets up what it needs on a machine that has Python 3.11+ and make, and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
FRAMEWORKS := $(VENV)/.frameworks

.PHONY: audit selftest test lint bench baselines sweeps vectors clean
.DELETE_ON_ERROR:

audit: $(READY) ## audit polyref.nn and the gallery; documents and an index under reports/
	$(BIN)/polyref gallery

selftest: $(READY) ## every law against every mutant and harmless variant; the document and the kill matrix under reports/selftest/
	$(BIN)/polyref selftest --json reports/selftest/selftest.json --html reports/selftest/selftest.html

test: $(READY) $(FRAMEWORKS) ## the whole test suite
	@command -v $${POLYREF_CHROMIUM:-chromium} >/dev/null || echo "No chromium: the browser tests are skipped. Install it, or name one in POLYREF_CHROMIUM."
	@# Some hundred processes import polyref, and where Python may not write bytecode each of them compiles it.
	$(BIN)/python -m compileall -q polyref properties
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(READY) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY) ## rates of the reference, the model and the losses, as ratios in one interleaved run
	$(BIN)/python -m polyref.bench

baselines: $(READY) ## the baselines of polyref.nn and the gallery, which the tests hold, made anew
	$(BIN)/python -m polyref.gallery.baselines reports/baselines

LOSS := polyref.nn.functional:poly_cross_entropy
FORM := polyref.gallery.gather:Poly1CrossEntropyLoss
SWEEP := $(BIN)/polyref sweep
sweeps: $(READY) ## every margin of the 16-bit formats and of binary32, and every pair of bfloat16; a quarter of an hour on two cores
	$(SWEEP) $(LOSS) --format bfloat16 --margins --json reports/sweeps/nn-bfloat16-margins.json
	$(SWEEP) $(LOSS) --format binary16 --margins --json reports/sweeps/nn-binary16-margins.json
	$(SWEEP) $(FORM) --format bfloat16 --margins --json reports/sweeps/textbook-bfloat16-margins.json
	$(SWEEP) $(FORM) --format binary16 --margins --json reports/sweeps/textbook-binary16-margins.json
	$(SWEEP) $(LOSS) --format bfloat16 --pairs --epsilon 1 --json reports/sweeps/nn-bfloat16-pairs.json
	$(SWEEP) $(LOSS) --format binary32 --margins --json reports/sweeps/nn-binary32-margins.json

vectors: $(READY) ## the golden vectors of four formats and their JSON schema, made anew under reports/vectors/
	for format in binary64 binary32 binary16 bfloat16; do \
		$(BIN)/polyref vectors --format $$format -o reports/vectors/$$format.jsonl || exit $$?; done
	$(BIN)/polyref vectors schema -o reports/vectors/schema.json

# torch goes first and alone: its pin keeps pip from looking for a build with a GPU runtime.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "polyref needs Python 3.11 or newer; run make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt hatchling editables
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -c constraints.txt -e '.[dev]'
	@# Without a compiler everything works but more slowly: the command says why, and that is not an error here.
	$(BIN)/polyref build-native || true
	touch $(READY)

# JAX and TensorFlow are for the tests of subjects that are written in them: 1.7 GB, which an audit of torch code can do without.
$(FRAMEWORKS): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -c constraints.txt -e '.[frameworks]'
	touch $(FRAMEWORKS)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
