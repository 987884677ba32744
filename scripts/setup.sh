#!/usr/bin/env bash
# Installs what the build needs: system packages (when root or sudo may) and .venv with LibTorch. Run by make; safe to run again.
# PRESET=gcc builds with g++, so that clang and lld are not needed; asan, tsan, fuzz and coverage need clang's runtime
# as well, and llvm-symbolizer to name functions in what they find.
set -euo pipefail
cd "$(dirname "$0")/.."

torch_version=2.13.0
pyarrow_version=26.0.1
preset=${PRESET:-release}
libraries=(libyaml-cpp-dev nlohmann-json3-dev libspdlog-dev libfmt-dev libicu-dev libxxhash-dev libpng-dev zlib1g-dev libzstd-dev libgloo-dev libjs-dygraphs
           libcpp-httplib-dev libgtest-dev libgmock-dev)

is_installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

# need TOOL-OR-EMPTY PACKAGE ...: installs the packages that are missing; without dpkg, asks for TOOL alone.
missing=()
need() {
  local tool=$1 package
  shift
  for package in "$@"; do
    if command -v dpkg-query >/dev/null; then
      is_installed "$package" || missing+=("$package")
    elif [[ -n $tool ]] && ! command -v "$tool" >/dev/null; then
      missing+=("$package")
    fi
  done
}

install_missing() {
  ((${#missing[@]})) || return 0
  local as_root=()
  if ! command -v apt-get >/dev/null; then
    echo "setup: please install these first (Debian's package names): ${missing[*]}" >&2
    exit 1
  elif ((EUID != 0)); then
    if ! sudo -n true 2>/dev/null; then
      echo "setup: these packages are missing and I may not install them (no root, no sudo). Please run:" >&2
      echo "  sudo apt-get install ${missing[*]}     (or, as root: apt-get install ...)" >&2
      exit 1
    fi
    as_root=(sudo)
  fi
  echo "setup: installing ${missing[*]}" >&2
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  missing=()
}

if [[ $preset == gcc ]]; then
  need g++ g++
else
  need clang++ clang
  need ld.lld lld
fi
need cmake cmake
need ninja ninja-build
need pkg-config pkg-config
need "" "${libraries[@]}"  # where there is no dpkg, CMake says which one is missing
# A python3 that can make virtual environments is enough; it need not be Debian's.
python3 -c 'import ensurepip, venv' 2>/dev/null || need python3 python3-venv
install_missing
if [[ $preset == asan || $preset == tsan || $preset == fuzz || $preset == coverage ]]; then
  need "" "libclang-rt-$(clang++ -dumpversion | cut -d. -f1)-dev"
  need llvm-symbolizer llvm
  install_missing
fi

if [[ -z "${EVOMOE_TORCH:-}" ]] && ! grep -qs "__version__ = '$torch_version" .venv/lib/python3*/site-packages/torch/version.py; then
  echo "setup: installing torch $torch_version into .venv" >&2
  .venv/bin/python -m pip --version >/dev/null 2>&1 || python3 -m venv --clear .venv  # none, or one of a Python that is gone
  .venv/bin/python -m pip install --quiet --disable-pip-version-check "torch==$torch_version"
fi
# Arrow's library, which reads Parquet; the program can be built without it (cmake/arrow.cmake).
if [[ ${EVOMOE_ARROW:-AUTO} != OFF && ! -d $(echo .venv/lib/python3*/site-packages/pyarrow-$pyarrow_version.dist-info) ]]; then
  echo "setup: installing pyarrow $pyarrow_version into .venv" >&2
  # A .venv that is there may be anybody's (EVOMOE_TORCH): it is never cleared for what can be done without.
  { [[ -x .venv/bin/python ]] || python3 -m venv .venv; } &&
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --retries 1 "pyarrow==$pyarrow_version" || {
    remedy="EVOMOE_ARROW=OFF: it is not tried"
    .venv/bin/python -m pip --version >/dev/null 2>&1 ||
      remedy=".venv has no pip: if you need nothing in it, make it anew (rm -r .venv, and run this again); $remedy"
    echo "setup: pyarrow $pyarrow_version could not be installed: Parquet and Arrow files will not be read ($remedy)" >&2
  }
fi
