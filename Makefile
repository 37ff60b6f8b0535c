# Two commands on a fresh machine: `make demo` and `make test`. They need make and a Python 3.12 or 3.13.

VENV ?= .venv
REQUIREMENTS := pyproject.toml constraints.txt
# The stamp carries the hash of what is to be installed: a changed dependency is installed, an unchanged one is not.
STAMP = $(VENV)/.installed-$(shell cat $(REQUIREMENTS) | (sha256sum 2>/dev/null || shasum -a 256) | cut -c1-16)
BIN = $(VENV)/bin
DEMO_OUT ?= runs/demo
SBOM ?= dist/sbom.cdx.json
SITE ?= site
PYPROJECT ?= pyproject.toml
# Whose installed distributions the bill of materials lists.
PYTHON_LISTED ?= $(BIN)/python

.PHONY: demo test test-slow reliability performance lint types licences audit sbom docs release environment clean

demo: environment
	$(BIN)/eagbench run benchmarks/mimic_robustness.yaml --profile quick --out $(DEMO_OUT)

test: environment
	$(BIN)/python -m pytest -n 2 --dist loadscope -m "not slow"

test-slow: environment
	$(BIN)/python -m pytest -n 2 --dist loadscope -m slow

# Faults done on purpose, some thousands: an hour or more. Writes the table of docs/reliability.md.
reliability: environment
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.reliability

# Hours, on a machine with nothing else to do. Writes the measured sections of docs/performance.md and docs/growth.md.
performance: environment
	$(BIN)/python speed/performance.py $(ARGUMENTS)

lint: environment
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: environment
	$(BIN)/mypy

# Needs no network; fails on a licence that scripts/licences.toml does not allow.
licences: environment
	$(BIN)/python scripts/licences

# Needs PyPI's advisory database, and says in one sentence when it can't reach it (exit code 3 of the script).
audit: environment
	@$(BIN)/python scripts/audit

# The software bill of materials, CycloneDX 1.6, validated when written.
sbom:
	@mkdir -p $(dir $(SBOM))
	$(BIN)/cyclonedx-py environment --pyproject $(PYPROJECT) --output-reproducible --spec-version 1.6 \
	  --output-format JSON --output-file $(SBOM) --validate $(PYTHON_LISTED)

# The documentation as a site in $(SITE); a warning fails, and so does a page that would load anything from elsewhere.
docs: environment
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --clean --site-dir $(abspath $(SITE))

# `make release VERSION=0.2.0`: all of it, up to the tag; ARGUMENTS=--dry-run leaves no commit and no tag.
release: environment
	$(BIN)/python scripts/release $(VERSION) $(ARGUMENTS)

environment: $(STAMP)

$(STAMP):
	@python=$$(PYTHON="$(PYTHON)" sh scripts/find-python) && $$python -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs]'
	@rm -f $(VENV)/.installed-* && touch $@

clean:
	rm -rf $(VENV) build dist site
