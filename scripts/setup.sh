#!/usr/bin/env bash
# Installs what the build needs: system packages (when root or sudo may) and .venv with LibTorch. Run by make; safe to run again.
# PRESET=gcc builds with g++, so that clang and lld are not needed.
set -euo pipefail
cd "$(dirname "$0")/.."

torch_version=2.13.0
compiler=(clang lld)
tools=(clang++ ld.lld)
if [[ ${PRESET:-release} == gcc ]]; then compiler=(g++) tools=(g++); fi
packages=("${compiler[@]}" cmake ninja-build pkg-config git python3-venv libcli11-dev libyaml-cpp-dev nlohmann-json3-dev libspdlog-dev
          libfmt-dev libpcre2-dev libgtest-dev libgmock-dev)

missing=()
if command -v dpkg-query >/dev/null; then
  for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
else
  for tool in "${tools[@]}" cmake ninja pkg-config python3; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
fi
# A python3 that can make virtual environments is enough; it need not be Debian's.
if python3 -c 'import ensurepip, venv' 2>/dev/null; then
  missing=("${missing[@]/python3-venv/}")
fi
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | grep -v '^$' || true)

if ((${#missing[@]})); then
  if ! command -v apt-get >/dev/null; then
    echo "setup: please install these first: ${missing[*]}" >&2
    echo "setup: (Debian's package names: ${packages[*]})" >&2
    exit 1
  elif ((EUID == 0)); then
    as_root=()
  elif sudo -n true 2>/dev/null; then
    as_root=(sudo)
  else
    echo "setup: these packages are missing and I may not install them (no root, no sudo). Please run:" >&2
    echo "  apt-get install ${missing[*]}" >&2
    exit 1
  fi
  echo "setup: installing ${missing[*]}" >&2
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if [[ -z "${EVOMOE_TORCH:-}" ]] && ! grep -qs "__version__ = '$torch_version" .venv/lib/python3*/site-packages/torch/version.py; then
  echo "setup: installing torch $torch_version into .venv" >&2
  [[ -x .venv/bin/pip ]] || python3 -m venv .venv
  .venv/bin/pip install --quiet --disable-pip-version-check "torch==$torch_version"
fi
