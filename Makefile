# The tasks of people and CI. `make` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SERVERS := $(or $(KEPLER_TRAIN_SERVERS),$(HOME)/.cache/kepler-train/bin)
KUSTOMIZE_MODULE := sigs.k8s.io/kustomize/kustomize/v5@v5.7.1
MINIO_MODULE := github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c
VERSITYGW_MODULE := github.com/versity/versitygw/cmd/versitygw@v1.8.0
TOXIPROXY_MODULE := github.com/Shopify/toxiproxy/v2/cmd/server@v2.5.0

IMAGES ?= steps runtime-current runtime-estimator-2022 sync
REGISTRY ?= kepler-train
TAG ?= dev
DOCKER ?= docker

.DEFAULT_GOAL := help
.PHONY: help run test check format lock images push servers benchmark benchmark-accuracy clean

help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/run ## train on a simulated window into ./models and print where the report is
	@$(BIN)/kepler-train run --source simulate --store models --unsigned

test: $(VENV)/dev servers ## set up, check and run the tests against real servers
	@$(MAKE) --no-print-directory check
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(VENV)/dev ## style, types, import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev ## put the code into shape
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: ## resolve the lock files anew (needs uv)
	uv pip compile pyproject.toml requirements/build.in --extra keras --extra workflow --extra sync --extra safe-form --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-annotate --no-header --upgrade -o requirements/run.lock
	uv pip compile pyproject.toml requirements/build.in --all-extras --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-annotate --no-header --constraint requirements/run.lock -o requirements/dev.lock
	uv pip compile requirements/sync.in --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-annotate --no-header --constraint requirements/dev.lock -o requirements/sync.lock
	uv pip compile pyproject.toml requirements/runtime-estimator-2022.in --config-file requirements/kfp-alone.toml \
		--python-version 3.10 --no-python-downloads --generate-hashes --no-emit-index-url --no-annotate --no-header --upgrade \
		-o requirements/runtime-estimator-2022.lock
	for name in steps runtime-current; do \
		uv pip compile pyproject.toml requirements/$$name.in --config-file requirements/kfp-alone.toml --universal --python-version 3.11 \
			--generate-hashes --no-emit-index-url --no-annotate --no-header --constraint requirements/run.lock -o requirements/$$name.lock || exit; \
	done
	uv pip compile requirements/images.in --universal --python-version 3.10 \
		--generate-hashes --no-emit-index-url --no-annotate --no-header -o requirements/images.lock

images: ## build the images with Docker and say how large they are: IMAGES="steps sync", REGISTRY, TAG; own bases: BASE, BASE_2022
	@for name in $(IMAGES); do \
		base="$(BASE)"; [ $$name != runtime-estimator-2022 ] || base="$(BASE_2022)"; \
		$(DOCKER) build --quiet $${base:+--build-arg BASE=$$base} --build-arg REVISION=$$(git rev-parse HEAD) $(DOCKER_OPTIONS) \
			--tag $(REGISTRY)/$$name:$(TAG) --file images/$$name.Dockerfile . >/dev/null \
		&& $(DOCKER) image inspect --format '{{index .RepoTags 0}} {{.Size}} bytes' $(REGISTRY)/$$name:$(TAG) || exit; \
	done
	@printf '{%s}\n' "$$(for name in $(IMAGES); do printf '"%s": "$(REGISTRY)/%s:$(TAG)", ' $$name $$name; done | sed 's/, $$//')" > images/local.json

push: images ## build the images and push them to REGISTRY
	@for name in $(IMAGES); do $(DOCKER) push --quiet $(REGISTRY)/$$name:$(TAG) || exit; done

servers: ## real servers and tools for the tests, built once a machine: Prometheus (apt), MinIO and others (go install)
	@SERVERS="$(SERVERS)" KUSTOMIZE_MODULE="$(KUSTOMIZE_MODULE)" MINIO_MODULE="$(MINIO_MODULE)" \
		VERSITYGW_MODULE="$(VERSITYGW_MODULE)" TOXIPROXY_MODULE="$(TOXIPROXY_MODULE)" sh tests/servers.sh

benchmark: $(VENV)/dev servers ## extraction and the whole workflow against peers, with what is to be reached; JSON=PATH
	@$(BIN)/python -m benchmarks $(if $(JSON),--json "$(JSON)")

benchmark-accuracy: $(VENV)/run ## sums, splits, time and memory against peers, with what is to be reached; JSON=PATH
	@$(BIN)/python -m benchmarks.accuracy $(if $(JSON),--json "$(JSON)")

clean: ## remove the environment and what runs left here
	rm -rf $(VENV) runs local_outputs

$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "$(PYTHON) is not Python 3.11 to 3.13, for which all libraries are there; give one: make run PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/run: $(VENV)/python requirements/run.lock pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev: $(VENV)/run requirements/dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@touch $@
