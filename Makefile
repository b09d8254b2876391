# Every target runs an npm script, and so uses the project's own Node (node_modules/.bin/node). To begin, you need any Node from 20 on.
# The stack checks for Go, Java and git when it needs them.

NAME := $(or $(STACK_NAME),default)
RUN := npm run --silent
INSTALLED := node_modules/.package-lock.json

RELEASE_ARGS = --version="$(VERSION)" --registry="$(REGISTRY)" --directory="$(DIR)" --key="$(KEY)" $(if $(PLAIN_HTTP),--plain-http)

.DEFAULT_GOAL := help
.PHONY: help demo pod kind pods-test test contract-newapi crash hostile soak fuzz nightly bench check build package executables release verify-release generate format stack-up stack-down stack-status

help: ## shows this list
	@echo "Targets:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "STACK_NAME=name uses another stack than \"default\"; several can run side by side."

demo: $(INSTALLED) ## runs the whole path on real parts and shows each stage (DEMO_USERS=50: fifty people at once)
	@$(RUN) demo

pod: $(INSTALLED) ## the same in real Pods: builds the image, runs a node in namespaces, takes all down (root; KEEP=1: stays up)
	@$(RUN) pod

kind: $(INSTALLED) ## the same in a kind cluster, with upstreams from public images (Docker, kind, kubectl, the internet; KEEP=1)
	@$(RUN) kind

pods-test: $(INSTALLED) ## tests the image in real Pods: rollouts, drains, kills, certificates, network policies (root)
	@$(RUN) test -- pods

test: $(INSTALLED) ## checks format, lint and types; runs all tests and the short crash test on a stack of its own
	@$(RUN) test

contract-newapi: $(INSTALLED) ## tests the gateway contract (NEWAPI_URL, NEWAPI_ADMIN_TOKEN, NEWAPI_ADMIN_USER_ID: a real gateway)
	@$(RUN) contract-newapi

crash: $(INSTALLED) ## tests kills, lost answers, outages and chaos; writes docs/reliability.md (SHORT=1: in minutes; SEED=n: the same plan)
	@$(RUN) crash -- $(if $(SHORT),--short) $(if $(EVERYWHERE),--everywhere) $(if $(SEED),--seed=$(SEED)) $(if $(PART),--part=$(PART))

hostile: $(INSTALLED) ## attacks from one tenant and times another; writes docs/reliability.md (SHORT=1: in minutes; SEED=n)
	@$(RUN) hostile -- $(if $(SHORT),--short) $(if $(SEED),--seed=$(SEED))

soak: $(INSTALLED) ## repeats chaos until an invariant breaks (HOURS=4; SEED=n: seed of the first run)
	@$(RUN) soak -- $(if $(HOURS),--hours=$(HOURS)) $(if $(SEED),--seed=$(SEED))

fuzz: $(INSTALLED) ## sends a million AdmissionReviews to the webhook (REVIEWS=n; SEED=n: the same ones)
	@$(RUN) fuzz -- $(if $(REVIEWS),--reviews=$(REVIEWS)) $(if $(SEED),--seed=$(SEED))

nightly: $(INSTALLED) ## runs what the gate leaves out: crash, hostile and fuzz in full, and tests that only repeat (two hours)
	@$(RUN) test -- nightly
	@$(RUN) crash
	@$(RUN) hostile
	@$(RUN) fuzz

bench: $(INSTALLED) ## measures costs beside their floor; writes docs/performance.md (ONLY=admission: one part; SCALE=tiny: a trial)
	@$(RUN) bench -- $(if $(ONLY),--only=$(ONLY))

check: $(INSTALLED) ## checks format, lint and types only
	@$(RUN) check

build: $(INSTALLED) ## bundles the programs into dist/, as in the image
	@$(RUN) build

package: $(INSTALLED) ## makes the npm package in dist-package/, ready for npm publish
	@$(RUN) release -- package

executables: $(INSTALLED) ## makes single executables for Linux and a Krew manifest in dist-executables/ (URL=where they will be)
	@$(RUN) release -- executables "$(URL)"

release: $(INSTALLED) ## builds, pushes and signs a release (VERSION=0.1.0 REGISTRY=host/path IMAGE=layout KEY=cosign.key)
	@$(RUN) release -- release $(RELEASE_ARGS) --image="$(IMAGE)" $(if $(KEYLESS),--keyless)

verify-release: $(INSTALLED) ## verifies files, registry and signatures (VERSION= REGISTRY= KEY=cosign.pub DIR=files)
	@$(RUN) release -- verify $(RELEASE_ARGS) --identity="$(IDENTITY)" --issuer="$(ISSUER)"

generate: $(INSTALLED) ## generates CRDs, API reference, runbook entries, metrics and JSON schemas from src/api
	@$(RUN) generate

format: $(INSTALLED) ## formats every file with prettier
	@$(RUN) format

stack-up: $(INSTALLED) ## starts the local stack, or the parts of it that do not run
	@$(RUN) stack -- up --name $(NAME)

stack-down: $(INSTALLED) ## stops the stack and what runs on it, and deletes its data; the logs stay
	@$(RUN) stack -- down --name $(NAME)

stack-status: $(INSTALLED) ## shows which parts run
	@$(RUN) stack -- status --name $(NAME)

$(INSTALLED): package-lock.json
	@command -v node >/dev/null || { echo 'Node 20 or newer is needed to begin, and no "node" was found on the PATH: install it from https://nodejs.org or with your package manager.' >&2; exit 1; }
	@node -e 'if (+process.versions.node.split(".")[0] < 20) { console.error("Node 20 or newer is needed to begin, and found is " + process.versions.node + ": install a newer one from https://nodejs.org."); process.exit(1); }'
	@command -v npm >/dev/null || { echo 'npm is needed, and no "npm" was found on the PATH: it comes with Node, or as the package "npm" of your distribution.' >&2; exit 1; }
	@echo "Installing what package-lock.json names (npm ci)"
	@npm ci --no-audit --no-fund --no-update-notifier --loglevel=error
	@node_modules/.bin/node -e '' || { echo 'npm installed no working Node 24: does it refuse install scripts (npm config get ignore-scripts)?' >&2; exit 1; }
	@touch $@
