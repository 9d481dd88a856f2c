# The first command makes a virtual environment with all three backends.
VENV := .venv
PYTHON3 ?= python3
PYTHON := $(VENV)/bin/python
FUZZ_SECONDS ?= 60
# The first, which starts fastest, runs all tests; the others those that depend on the backend.
BACKENDS := torch tensorflow jax
export KERAS_BACKEND ?= tensorflow
export TF_CPP_MIN_LOG_LEVEL ?= 2
export CUDA_VISIBLE_DEVICES ?=
# Two processes with one PyTorch thread each; the tests of a file run in one, longest first.
LONGEST := tests/training tests/distribution tests/callbacks tests/test_saved_across_backends.py \
	tests/test_examples.py
TESTS := OMP_NUM_THREADS=1 $(PYTHON) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder \
	$(LONGEST) $(filter-out $(LONGEST),$(wildcard tests/test_*.py) $(patsubst %/,%,$(wildcard tests/*/)))

# What a version of Keras or of a framework may break.
COMPATIBILITY := tests/compat tests/test_keras_internals.py tests/test_backends_train_alike.py \
	tests/losses tests/optimizers tests/training/test_compile.py tests/callbacks/test_gradient_norm.py

.PHONY: help demo test test-extras test-lowest test-nightly coverage faults fuzz gpu-bench check docs

help:
	@echo "make demo         pretrain on digits, fine-tune on a few labels, compare (KERAS_BACKEND=$(KERAS_BACKEND))"
	@echo "make test         the tests, on each of: $(BACKENDS)"
	@echo "make test-extras  the tests that need keras-cv, keras-hub or export runtimes, once it has installed them"
	@echo "make test-lowest  the tests of what Keras may change, on the lowest versions, in a separate environment"
	@echo "make test-nightly the tests of what Keras may change, on its nightly build, in a separate environment"
	@echo "make coverage     the lines that the tests miss (KERAS_BACKEND=$(KERAS_BACKEND))"
	@echo "make faults       runs killed 100 times at random moments, on each backend"
	@echo "make fuzz         damaged files for the loaders, a minute each (FUZZ_SECONDS=$(FUZZ_SECONDS))"
	@echo "make gpu-bench    speed and accuracy on a GPU, beside published figures (PYTHON=..., ARGUMENTS=...)"
	@echo "make check        ruff and mypy"
	@echo "make docs         docs/ and the API as a site, in site/"

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON3) -m venv $(VENV)
	$(PYTHON) -m pip install --quiet -c constraints.txt \
		-e ".[tensorflow,jax,torch,grain,cli,checkpoints,docs,test]"
	touch $@

$(VENV)/installed-extras: $(VENV)/installed
	$(PYTHON) -m pip install --quiet -c constraints.txt -e ".[cv,hub,export]"
	touch $@

define install_for_compatibility
	$(PYTHON3) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet -c $(1) -e ".[tensorflow,jax,torch,cli]" \
		pytest pytest-xdist hypothesis
endef

$(VENV)-lowest/installed: pyproject.toml constraints-lowest.txt
	$(call install_for_compatibility,constraints-lowest.txt)
	touch $@

# The distribution keras-nightly has the same package as keras.
$(VENV)-nightly/installed: pyproject.toml constraints.txt
	$(call install_for_compatibility,constraints.txt)
	$(@D)/bin/python -m pip uninstall --quiet --yes keras
	$(@D)/bin/python -m pip install --quiet --pre keras-nightly
	touch $@

demo: $(VENV)/installed
	$(PYTHON) examples/quickstart.py

test: $(VENV)/installed
	@failed=; chosen="not extras"; for backend in $(BACKENDS); do \
		echo "== $$backend"; KERAS_BACKEND=$$backend $(TESTS) -m "$$chosen" || failed="$$failed $$backend"; \
		chosen="not extras and (not once or every_backend)"; \
	done; test -z "$$failed" || { echo "Failed on:$$failed"; exit 1; }

test-extras: $(VENV)/installed-extras
	@failed=; for backend in $(BACKENDS); do \
		echo "== $$backend"; KERAS_BACKEND=$$backend $(PYTHON) -m pytest -q -m extras || failed="$$failed $$backend"; \
	done; test -z "$$failed" || { echo "Failed on:$$failed"; exit 1; }

# Old releases warn of what their newer dependencies changed, and load no files of a newer Keras.
test-lowest: OPTIONS := -W default --deselect tests/compat
test-lowest test-nightly: test-%: $(VENV)-%/installed
	@for backend in $(BACKENDS); do \
		echo "== $$backend"; \
		KERAS_BACKEND=$$backend OMP_NUM_THREADS=1 $(<D)/bin/python -m pytest -q -n 2 --dist loadfile \
			$(OPTIONS) $(COMPATIBILITY) || exit 1; \
	done

coverage: $(VENV)/installed
	$(TESTS) --cov --cov-report=term:skip-covered

faults: $(VENV)/installed
	@for backend in $(BACKENDS); do \
		echo "== $$backend"; KERAS_BACKEND=$$backend $(PYTHON) tests/faults/kill_runs.py || exit 1; \
	done

fuzz: $(VENV)/installed
	KERAS_BACKEND=torch $(PYTHON) tests/faults/fuzz_loaders.py $(FUZZ_SECONDS)

# All GPUs are visible unless CUDA_VISIBLE_DEVICES was set by the user; PYTHON may be another one.
gpu-bench: $(if $(filter file,$(origin PYTHON)),$(VENV)/installed)
	$(if $(filter file,$(origin CUDA_VISIBLE_DEVICES)),env -u CUDA_VISIBLE_DEVICES) \
		$(PYTHON) benchmarks/gpu.py $(ARGUMENTS)

check: $(VENV)/installed
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

docs: $(VENV)/installed
	$(PYTHON) -m mkdocs build --quiet
