# Lianxin. `make help` lists what there is; nothing but Python 3.11+ and make is needed.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PY := .venv/bin/python
# More arguments for pytest, such as ARGS="-k renewal -x"
ARGS ?=

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup run demo token clean
setup: ## Install everything that is locked: venv, packages, broker and database
	@scripts/bootstrap setup

run: ## Start the platform, play a hospital day, stay up until Ctrl-C
	@scripts/bootstrap run
	@exec $(PY) -m libs.common.devstack run

demo: ## The same, then stop: exit code 0, or the step that failed
	@scripts/bootstrap run
	@exec $(PY) -m libs.common.devstack demo

token: ## Print a token for the running platform: ROLE=doctor PERSON=… [HOSPITAL=…] [DEPARTMENT=…]
	@test -n "$(ROLE)" -a -n "$(PERSON)" || \
	  { echo 'Say who: make token ROLE=doctor PERSON=…' >&2; exit 1; }
	@ENVIRONMENT=development $(if $(PAGE_PORT),OIDC_ISSUER=http://127.0.0.1:$(PAGE_PORT)/dev-issuer) \
	  $(PY) -m libs.common.dev_issuer $(if $(DATA_DIR),--directory $(DATA_DIR)/dev-issuer) \
	  token --role $(ROLE) --person $(PERSON) \
	  $(if $(HOSPITAL),--hospital $(HOSPITAL)) $(foreach d,$(DEPARTMENT),--department $(d))

clean: ## Remove all data of the platform on this machine (.data)
	@if test -x $(PY); then $(PY) -m libs.common.devstack clean; else rm -rf .data; fi
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.PHONY: test check fmt lint types imports contracts
test: check-static ## All checks and all tests on real parts (some 30 minutes on 2 cores)
	$(PY) -m pytest tests/unit tests/contract tests/integration tests/e2e tests/failure $(ARGS)

check: check-static ## The fast part: lint, types, contracts, tests without the stack
	$(PY) -m pytest tests/unit tests/contract $(ARGS)

.PHONY: check-static
check-static: lint types imports contracts

fmt: setup ## Format the code and mend what can be mended
	$(PY) -m ruff check --fix-only --quiet .
	$(PY) -m ruff format .
	$(PY) -m scripts.anchors

lint: setup ## Style and suspicious code (ruff)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: setup ## Types (mypy --strict)
	$(PY) -m mypy

imports: setup ## Who may import whom (import-linter)
	.venv/bin/lint-imports

contracts: setup ## What is published under contracts/ is true and keeps its promises
	$(PY) -m scripts.contracts check
	$(PY) -m scripts.lint_asyncapi

.PHONY: test-unit test-contract test-integration test-e2e test-failure soak
test-unit: setup ## Rules and decisions, no sockets
	$(PY) -m pytest tests/unit $(ARGS)

test-contract: setup ## Fakes against the real thing, published contracts
	$(PY) -m pytest tests/contract $(ARGS)

test-integration: setup ## Each part on the real broker and database
	$(PY) -m pytest tests/integration $(ARGS)

test-e2e: setup ## The journeys through all services
	$(PY) -m pytest tests/e2e $(ARGS)

test-failure: setup ## The same while parts are killed and fed with garbage
	$(PY) -m pytest tests/failure $(ARGS)

.PHONY: test-deploy test-containers
test-deploy: ## What deploy/ says: manifests, alerts, dashboards (needs Prometheus installed)
	@scripts/bootstrap deploy
	$(PY) -m pytest tests/deploy $(ARGS)

test-containers: ## Images built and run, the manifests played (needs podman, and root)
	@scripts/bootstrap deploy
	$(PY) -m pytest tests/containers $(ARGS)

soak: setup ## The long ones: full kill matrix, long fuzzing (hours)
	$(PY) -m pytest tests -m soak $(ARGS)

.PHONY: images sbom
sbom: ## What is in each image that others wrote, as CycloneDX files into DIR=… (.data/sbom): [VERSION=…]
	@scripts/bootstrap deploy
	@$(PY) -m scripts.sbom "$(or $(DIR),.data/sbom)" $(VERSION)

images: ## Build lianxin/<service>:VERSION by docker or podman: [VERSION=…] [PREFIX=…] [SERVICE=…]
	@VERSION="$(VERSION)" PREFIX="$(PREFIX)" python3 -m scripts.images $(SERVICE)

.PHONY: docs
docs: setup ## The contracts as one page, into DIR=… (.data/docs)
	$(PY) -m libs.common.devstack.page.contracts "$(or $(DIR),.data/docs)"

.PHONY: sandbox conformance
sandbox: setup ## The contracts' examples in a Kafka to try against, or into one: BOOTSTRAP=… [HOSPITAL=…]
	@$(PY) -m scripts.sandbox $(if $(BOOTSTRAP),--bootstrap "$(BOOTSTRAP)") \
	  $(if $(HOSPITAL),--hospital "$(HOSPITAL)")

conformance: setup ## What is wrong with what stands on a topic: TOPIC=… [BOOTSTRAP=…] [FROM=…] [LIMIT=…]
	@test -n "$(TOPIC)" || { echo 'Say what to read: make conformance TOPIC=…' >&2; exit 2; }
	@$(PY) -m scripts.conformance "$(TOPIC)" $(if $(BOOTSTRAP),--bootstrap "$(BOOTSTRAP)") \
	  $(if $(FROM),--from "$(FROM)") $(if $(LIMIT),--limit "$(LIMIT)")

.PHONY: fuzz
fuzz: setup ## Search for bytes that break a reader of HL7 v2: SECONDS=60 for each target
	$(PY) -m tests.fuzz.run $(if $(SECONDS),--seconds $(SECONDS))

.PHONY: interop-report
interop-report: setup ## What becomes of messages: DIR=… (its *.hl7 and FHIR *.json, through the real ports)
	$(PY) -m scripts.interop_report $(if $(DIR),"$(DIR)")

.PHONY: renewal-report
renewal-report: setup ## How many prescriptions could be renewed online: DIR=… (its FHIR *.json)
	@$(PY) -m scripts.renewal_report $(if $(DIR),"$(DIR)")

# What looks into the database finds that of `make run`, unless MONGO_URL names another.
STORED = if [ -z "$$MONGO_URL" ]; then \
	  export MONGO_URL="mongodb://127.0.0.1:$${MONGO_PORT:-27017}/?replicaSet=secantus"; \
	  keys="$${DATA_DIR:-.data}/cipher-keys"; \
	  if [ -d "$$keys" ]; then export CIPHER_KEYS_DIR="$$keys"; fi; fi;

.PHONY: policy-replay
policy-replay: setup ## Which past renewals other rules would answer otherwise: FROM=… POLICY=… [HOSPITAL=…]
	@test -n "$(FROM)" -a -n "$(POLICY)" || \
	  { echo 'Say since when and by which rules: make policy-replay FROM=2026-01-01 POLICY=…' >&2; exit 1; }
	@$(PY) -m lianxin policy replay --from "$(FROM)" --policy "$(POLICY)" $(if $(HOSPITAL),--hospital "$(HOSPITAL)")

.PHONY: history-check
history-check: setup ## Which stored renewals the rules can't have made, if any: [HOSPITAL=…]
	@$(STORED) $(PY) -m scripts.history_check $(if $(HOSPITAL),--hospital "$(HOSPITAL)")

.PHONY: bench lock
bench: ## Benchmarks; the figures go to docs/performance.md
	@scripts/bootstrap bench
	$(PY) -m bench $(ARGS)

lock: setup ## Pin what requirements/*.in asks for; newest versions with UPGRADE=1
	@UPGRADE=$(UPGRADE) KAFKA=$(KAFKA) sh scripts/lock
