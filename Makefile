# Everything runs through npm scripts, so with the project's own Node (node_modules/.bin/node); what is needed to begin is
# any Node from 20 on. Go, Java and git are asked for by the stack, when it needs them.

NAME := $(or $(STACK_NAME),default)
RUN := npm run --silent
INSTALLED := node_modules/.package-lock.json

.DEFAULT_GOAL := help
.PHONY: help demo test contract-newapi crash soak bench check build generate format stack-up stack-down stack-status

help: ## this list
	@echo "Targets:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "STACK_NAME=name uses another stack than \"default\"; several can run side by side."

demo: $(INSTALLED) ## the main job on real parts, shown as it happens (DEMO_USERS=50: fifty people at once)
	@$(RUN) demo

test: $(INSTALLED) ## format, lint, types; unit, contract and end-to-end tests and the short crash proof on a stack of its own
	@$(RUN) test

contract-newapi: $(INSTALLED) ## the gateway's contract; NEWAPI_URL, NEWAPI_ADMIN_TOKEN, NEWAPI_ADMIN_USER_ID: against a real one
	@$(RUN) contract-newapi

crash: $(INSTALLED) ## kills, lost answers, outages, a storm; writes docs/reliability.md (SHORT=1: in minutes; SEED=n: the same plan)
	@$(RUN) crash -- $(if $(SHORT),--short) $(if $(EVERYWHERE),--everywhere) $(if $(SEED),--seed=$(SEED)) $(if $(PART),--part=$(PART))

soak: $(INSTALLED) ## storm after storm until a promise breaks (HOURS=4; SEED=n: the first one's)
	@$(RUN) soak -- $(if $(HOURS),--hours=$(HOURS)) $(if $(SEED),--seed=$(SEED))

bench: $(INSTALLED) ## what it costs, beside the floor; writes docs/performance.md (ONLY=admission: one part; SCALE=tiny: a trial)
	@$(RUN) bench -- $(if $(ONLY),--only=$(ONLY))

check: $(INSTALLED) ## format, lint and types alone
	@$(RUN) check

build: $(INSTALLED) ## JavaScript in dist/, as the image has it
	@$(RUN) build

generate: $(INSTALLED) ## CRDs, API reference and JSON schemas, from src/api
	@$(RUN) generate

format: $(INSTALLED) ## writes every file as prettier has it
	@$(RUN) format

stack-up: $(INSTALLED) ## starts the local stack, or what of it has died
	@$(RUN) stack -- up --name $(NAME)

stack-down: $(INSTALLED) ## ends the stack and what runs on it, and forgets its data; the logs stay
	@$(RUN) stack -- down --name $(NAME)

stack-status: $(INSTALLED) ## which parts run
	@$(RUN) stack -- status --name $(NAME)

$(INSTALLED): package-lock.json
	@command -v node >/dev/null || { echo 'Node 20 or newer is needed to begin, and no "node" was found on the PATH: install it from https://nodejs.org or with your package manager.' >&2; exit 1; }
	@node -e 'if (+process.versions.node.split(".")[0] < 20) { console.error("Node 20 or newer is needed to begin, and found is " + process.versions.node + ": install a newer one from https://nodejs.org."); process.exit(1); }'
	@command -v npm >/dev/null || { echo 'npm is needed, and no "npm" was found on the PATH: it comes with Node, or as the package "npm" of your distribution.' >&2; exit 1; }
	@echo "Installing what package-lock.json names (npm ci)"
	@npm ci --no-audit --no-fund --no-update-notifier --loglevel=error
	@node_modules/.bin/node -e '' || { echo 'npm installed no working Node 24: does it refuse install scripts (npm config get ignore-scripts)?' >&2; exit 1; }
	@touch $@
