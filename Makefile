# Everything here sets itself up first (scripts/bootstrap.py) and needs nothing but Python >= 3.11.
PYTHON ?= python3
LANG_CODE ?= en
PYTEST_ARGS ?=
# One process per core; a module stays in one of them, so that its fixtures are made once.
PARALLEL ?= -n auto --dist loadfile
BIN := .venv/bin
BENCHMARKS := $(filter-out benchmarks/pairs.py benchmarks/delta.py,$(wildcard benchmarks/*.py))

.DEFAULT_GOAL := help
.PHONY: help setup browser demo test check bench soak docs pictures lock clean

help: ## this list
	@echo "make demo                 a story with real output: publish, install, update, a bad release, roll back"
	@echo "make demo LANG_CODE=zh    the same in Chinese"
	@echo "make test                 every check and every test (PYTEST_ARGS=... is passed on)"
	@echo "make check                lint, format, types and import contract only"
	@echo "make bench                benchmarks"
	@echo "make soak                 the long tests"
	@echo "make docs                 write translations and error pages anew from the code"
	@echo "make pictures             take the README's pictures of the owner's page anew"
	@echo "make lock                 write requirements/*.txt anew from pyproject.toml"
	@echo "make clean                remove caches and build results; .venv stays"

setup:
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "modelota needs Python 3.11 or newer, and there is no $(PYTHON) on PATH (Debian: apt-get install python3 python3-venv)" >&2; exit 69; }
	@$(PYTHON) scripts/bootstrap.py

demo: setup
	@$(BIN)/python scripts/demo.py --lang $(LANG_CODE)

check: setup
	@$(BIN)/python scripts/checks.py

browser: setup
	@$(BIN)/python scripts/browser.py

test: check browser
	@$(BIN)/python -m pytest $(PARALLEL) $(PYTEST_ARGS)

soak: setup browser
	@$(BIN)/python -m pip install -qq --no-deps --require-hashes --only-binary :all: -r requirements/soak.txt
	@$(BIN)/python -m pytest -m soak $(PYTEST_ARGS)

bench: setup
	@$(if $(BENCHMARKS),,echo "benchmarks/ holds no benchmark yet" >&2; exit 1)
	@for file in $(BENCHMARKS); do echo "== $$file"; $(BIN)/python "$$file" || exit 1; done

docs: setup
	@$(BIN)/python scripts/messages.py update
	@$(BIN)/python scripts/errors_page.py
	@$(BIN)/python scripts/cli_page.py
	@$(BIN)/python scripts/openapi_page.py

pictures: browser
	@$(BIN)/python scripts/pictures.py

lock: setup
	@$(BIN)/python scripts/lock.py $(LOCK_ARGS)

clean:
	@rm -rf build dist .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name .venv -prune -o -name .git -prune -o -type d -name __pycache__ -print0 | xargs -0 rm -rf
