.DEFAULT_GOAL := help
.PHONY: help setup run test lint format check bench bench-check clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## .venv with the locked dependencies and every tool
	@.ci/setup

run: ## everything in one process, with the quickstart and its demo
	@.ci/setup run
	@.venv/bin/penstock up --app examples/quickstart --demo

test: setup ## the full suite, on a real PostgreSQL and RabbitMQ it provides
	@.venv/bin/python -m pytest -n 3 --dist loadfile $(ARGS)

lint: setup ## style, sizes, types, and who may import whom
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/python .ci/walls.py
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo

format: setup ## puts the code into shape
	@.venv/bin/ruff check --quiet --fix-only .
	@.venv/bin/ruff format .

check: lint test ## what CI runs

bench: setup ## measures; prints figures and ratios
	@.venv/bin/python -m tests.bench $(ARGS)

bench-check: setup ## measures again what has a ratio; fails where one fell by a fifth
	@.venv/bin/python -m tests.bench --check $(ARGS)

clean: ## removes what setup and tools made; data in .penstock stays
	@rm -rf .venv dist .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
