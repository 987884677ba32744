# make demo   train EvoMoE, Switch and dense language models on real text and compare them; THREADS=1 make demo: with one thread,
#             where other programs keep the machine busy
# make test   build and run all tests but the slow ones
# Both install what they need first (scripts/setup.sh). More targets below.

PRESET ?= release
BUILD := build/$(PRESET)
JOBS ?= $(shell nproc)
export PATH := $(PATH):/usr/local/bin

.PHONY: all setup configure build install demo test test-slow bench scaling results smollm2 format lint asan fuzz clean docs

all: build

setup:
	@PRESET=$(PRESET) scripts/setup.sh

# Again where another LibTorch is asked for.
TORCH := $(if $(EVOMOE_TORCH),$(EVOMOE_TORCH),.venv)
configure: setup
	@if [ ! -f $(BUILD)/build.ninja ] || [ "$$(cat $(BUILD)/torch 2>/dev/null)" != "$(TORCH)" ]; then \
	  cmake --preset $(PRESET) -DEVOMOE_TORCH="$(EVOMOE_TORCH)" && echo "$(TORCH)" >$(BUILD)/torch; fi

build: configure
	cmake --build $(BUILD) --parallel $(JOBS)

# The program, its manual pages and completions, and the library (docs/library.md): make install PREFIX=$HOME/.local
PREFIX ?= /usr/local
install: check-prefix configure
	cmake --build $(BUILD) --parallel $(JOBS) --target evomoe_manual
	cmake --install $(BUILD) --prefix $(abspath $(PREFIX))

.PHONY: check-prefix
check-prefix:
	$(if $(filter ~%,$(PREFIX)),$(error PREFIX is $(PREFIX), and the shell did not replace the ~; write PREFIX="$$HOME/.local"))

demo: configure
	cmake --build $(BUILD) --parallel $(JOBS) --target evomoe
	@scripts/demo.sh $(BUILD)/evomoe

test: build
	ctest --test-dir $(BUILD) --output-on-failure --parallel $(JOBS) --label-exclude slow

test-slow: build
	ctest --test-dir $(BUILD) --output-on-failure --label-regex slow

# Ours beside the peers, into docs/performance.md; a part of it: make bench BENCH='--only loss --rounds 1'.
bench: build
	python3 scripts/performance --evomoe $(BUILD)/evomoe $(BENCH)

# How a step grows with the number of ranks: writes scaling.md in docs; after an interruption:
# make scaling SCALING=--continue.
scaling: build
	python3 scripts/scaling.py --evomoe $(BUILD)/evomoe $(SCALING)

# Methods beside each other on real text, as recipes/plans has them: writes results.md in docs. Hours of training; again
# after an interruption it goes on.
results: build
	python3 scripts/results.py --evomoe $(BUILD)/evomoe

# A Llama of 135 million parameters is taken in, measured beside transformers, upcycled, trained and given back: writes
# smollm2.md in docs. Lengths are variables of scripts/smollm2.sh: make smollm2 UPDATES=20
smollm2: configure
	cmake --build $(BUILD) --parallel $(JOBS) --target evomoe
	@scripts/smollm2.sh $(BUILD)/evomoe build/smollm2

asan:
	$(MAKE) PRESET=asan test

# Every reader of files on made-up ones, each for SECONDS; some of them: make fuzz SECONDS=600 TARGETS="pickle bpe".
SECONDS ?= 60
fuzz:
	$(MAKE) PRESET=fuzz configure
	cmake --build build/fuzz --parallel $(JOBS) --target fuzz_targets
	@scripts/fuzz.sh build/fuzz $(SECONDS) $(TARGETS)

format: setup
	@command -v clang-format >/dev/null || { echo "make format needs clang-format (apt-get install clang-format)"; exit 1; }
	git ls-files '*.h' '*.cpp' | xargs clang-format -i

# clang-tidy on the files that differ from SINCE, new ones included (all of them with FILES="$$(git ls-files 'evomoe/*.cpp')").
SINCE ?= HEAD
FILES ?= $(shell { git diff --name-only --diff-filter=d $(SINCE) -- 'evomoe/*.cpp' 'apps/*.cpp'; \
                   git ls-files --others --exclude-standard -- 'evomoe/*.cpp' 'apps/*.cpp'; })
lint: build
	ctest --test-dir $(BUILD) --output-on-failure --tests-regex Includes
	cmake --preset lint
	cmake --build build/lint --parallel $(JOBS) --target evomoe_pch evomoe_plain_pch
	@command -v clang-tidy >/dev/null || { echo "make lint needs clang-tidy (apt-get install clang-tidy)"; exit 1; }
	@if [ -n "$(strip $(FILES))" ]; then clang-tidy -p build/lint --quiet $(FILES); else echo "no sources differ from $(SINCE)"; fi

docs: build
	$(BUILD)/evomoe options --markdown > docs/options.md
	$(BUILD)/evomoe options --migration > docs/migration.md

clean:
	rm -rf build
