# The verbs of this repository. `make` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup up dev check test simulate kills laws ledger limits race ordeal affinity demo-serverless package bench openapi docs
BIN := .venv/bin
DEMO ?= keep
# The program that builds the environment is kept beside it.
UV := .venv-uv/bin/uv

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' Makefile

setup: .venv/.built ## Build the environment and start nothing

.venv/.built: pyproject.toml uv.lock scripts/packages
	@bash scripts/packages
	@test -x $(UV) || { python3 -m venv .venv-uv && .venv-uv/bin/pip install -q uv; }
	@$(UV) sync --frozen --quiet --python "$$(command -v python3)"
	@touch $@

up: setup ## Start a marketplace with this machine on it (DEMO=none|keep|exit)
	@$(BIN)/mercato up --demo $(DEMO)

dev: setup ## A market of pretend machines that starts again when the code changes
	@$(BIN)/mercato up --data data-dev --engine pretend --demo none --reload

check: setup ## Format, lint, types, rooms, tidiness
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pytest -q tests/tidy

test: setup ## All tests, those of Docker and the client one after another (ORDER=2 for another order)
	@bash scripts/test-packages
	@bash scripts/docker-engine
	@$(BIN)/pytest -q --randomly-seed $(or $(ORDER),1) -n 2 -m "not docker and not client"
	@$(BIN)/pytest -q --randomly-seed $(or $(ORDER),1) -m "docker or client"

simulate: setup ## A week of whole markets with every fault (SEEDS=20, or SEED=17 to replay one)
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),20)) \
		$(if $(MACHINES),--machines $(MACHINES)) $(if $(DAYS),--days $(DAYS))

kills: setup ## kill -9 of server, agent or database at random moments of a busy market (KILLS=100)
	@bash scripts/test-packages
	@bash scripts/docker-engine
	@MERCATO_KILLS=$(or $(KILLS),100) $(BIN)/pytest -q -s tests/crash

laws: setup ## The laws of the auction on 100,000 random machines
	@MERCATO_NEW_CASES=1 MERCATO_LAW_CASES=100000 $(BIN)/pytest -q tests/market

ledger: setup ## A million random deeds of the ledger; sums, floors and bills after each
	@MERCATO_NEW_CASES=1 MERCATO_LEDGER_STEPS=1000000 $(BIN)/pytest -q tests/market/test_ledger.py

limits: setup ## A dollar's limit against 256 spenders at once (ROUNDS=1000, some 12 minutes)
	@MERCATO_LIMIT_ROUNDS=$(or $(ROUNDS),1000) $(BIN)/pytest -q -k at_once \
		tests/control/flows/test_limiting.py

race: setup ## A thousand renters race for a hundred offers over HTTP
	@MERCATO_RACE_RENTERS=1000 $(BIN)/pytest -q tests/control/api/test_racing.py

ordeal: setup ## The official client while containers of workers of either make are killed (SECONDS=1800)
	@bash scripts/test-packages
	@bash scripts/docker-engine
	@MERCATO_ORDEAL_S=$(or $(SECONDS),1800) $(BIN)/pytest -q -s tests/e2e/test_ordeal.py

affinity: setup ## A recorded hour of talks through the engine: where their beginnings are cached
	@MERCATO_AFFINITY_REQUESTS=12031 $(BIN)/pytest -q -s tests/engine/test_affinity.py

demo-serverless: setup ## A language model on CPU workers: from none to two and back
	@bash scripts/docker-engine
	@test -n "$$(docker images -q mercato/base:1)" || $(MAKE) up DEMO=exit
	@bash scripts/llm-image
	@$(BIN)/python demo/serverless.py

package: setup ## Build the worker's own package into dist/
	@cd packages/pyworker && ../../$(BIN)/python -m hatchling build -t wheel -d ../../dist

bench: setup ## Measure everything, beside others; tables in bench/results
	@bash scripts/docker-engine
	@for each in search http_search accept create auction standing notices replay settle memory \
	  cli_start dataplane/run dataplane/routes dataplane/reports dataplane/step; do \
	  PYTHONPATH=bench:. $(BIN)/python bench/$$each.py || exit 1; done

openapi: setup ## Write openapi/ again from the code
	@$(BIN)/python scripts/write_openapi.py

docs: setup ## Draw the pages of docs/ that say what the code says
	@$(BIN)/python -m scripts.write_docs
