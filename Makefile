# make demo   train EvoMoE, Switch and dense language models on real text and compare them
# make test   build and run all tests but the slow ones
# Both install what they need first (scripts/setup.sh). More targets below.

PRESET ?= release
BUILD := build/$(PRESET)
JOBS ?= $(shell nproc)
export PATH := $(PATH):/usr/local/bin

.PHONY: all setup configure build demo test test-slow bench format lint asan clean docs

all: build

setup:
	@scripts/setup.sh

configure: setup
	@[ -f $(BUILD)/build.ninja ] || cmake --preset $(PRESET)

build: configure
	cmake --build $(BUILD) --parallel $(JOBS)

demo: configure
	cmake --build $(BUILD) --parallel $(JOBS) --target evomoe
	@scripts/demo.sh $(BUILD)/evomoe

test: build
	ctest --test-dir $(BUILD) --output-on-failure --parallel $(JOBS) --label-exclude slow

test-slow: build
	ctest --test-dir $(BUILD) --output-on-failure --label-regex slow

bench: build
	$(BUILD)/benchmarks/evomoe_sparse_execution_benchmark

asan:
	$(MAKE) PRESET=asan test

format: setup
	@command -v clang-format >/dev/null || { echo "make format needs clang-format (apt-get install clang-format)"; exit 1; }
	git ls-files '*.h' '*.cpp' | xargs clang-format -i

# clang-tidy on the files that differ from main's last commit (all of them with FILES="$$(git ls-files evomoe/*.cpp)").
FILES ?= $(shell git diff --name-only --diff-filter=d HEAD -- 'evomoe/*.cpp' 'apps/*.cpp')
lint: build
	ctest --test-dir $(BUILD) --output-on-failure --tests-regex Includes
	@command -v clang-tidy >/dev/null || { echo "make lint needs clang-tidy (apt-get install clang-tidy)"; exit 1; }
	@if [ -n "$(strip $(FILES))" ]; then clang-tidy -p $(BUILD) --quiet $(FILES); else echo "no changed sources to lint"; fi

docs: build
	$(BUILD)/evomoe options --markdown > docs/options.md

clean:
	rm -rf build
