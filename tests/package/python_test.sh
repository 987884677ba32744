#!/usr/bin/env bash
# The tests of the Python package: with the one that EVOMOE_PYTHON has installed (without it: the Python of .venv, or
# python3); with --build, with one that is built here from an installed library, for the torch of that Python.
# Usage: python_test.sh PROGRAM [--build BUILD-FOLDER LIBTORCH]
source "$(dirname "$0")/common.sh"
program=$1
python=$here/../../.venv/bin/python
[[ -x $python ]] || python=python3
python=${EVOMOE_PYTHON:-$python}

command -v "$python" >/dev/null || skip "there is no $python (EVOMOE_PYTHON)"
cd "$folder"  # not where a folder of the name evomoe is
if [[ ${2:-} == --build ]]; then
  version() { sed -n 's/.*define TORCH_VERSION_M[AI][JN]OR //p' "$1/include/torch/headeronly/version.h" | paste -sd.; }
  theirs=$("$python" -c 'import os, torch; print(os.path.dirname(torch.__file__))' 2>/dev/null) || skip "$python has no torch"
  [[ $(version "$theirs") == $(version "$4") ]] || skip "$python has torch $(version "$theirs"), this build LibTorch $(version "$4")"
  "$python" -c 'import pip, setuptools.command.bdist_wheel' 2>/dev/null || "$python" -c 'import pip, wheel' 2>/dev/null ||
    skip "$python has no pip and setuptools 70.1"
  install_library "$3" "$folder/prefix"
  # From a copy: pip leaves files beside the sources.
  cp -r "$here/../../python" "$folder/python"
  EVOMOE_PREFIX=$folder/prefix "$python" -m pip install --quiet --no-build-isolation --no-deps --no-index --target "$folder/site" \
    "$folder/python"
  export PYTHONPATH=$folder/site
else
  "$python" -c 'import evomoe' 2>/dev/null ||
    skip "$python has no package evomoe (pip install --no-build-isolation ./python); EVOMOE_PYTHON names another Python"
fi
cd "$here/../../python/tests"
EVOMOE_PROGRAM=$program PYTHONDONTWRITEBYTECODE=1 "$python" -m unittest discover -p 'test_*.py'
