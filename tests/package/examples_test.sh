#!/usr/bin/env bash
# The examples, built from an installed library and run: moe_layer with g++ and with clang++, router with one of them; and
# all public headers in one file. A compiler that is missing is passed over. Each file takes half a minute: LibTorch.
# Usage: examples_test.sh BUILD-FOLDER LIBTORCH
source "$(dirname "$0")/common.sh"
build=$(cd "$1" && pwd)
torch=$(cd "$2" && pwd)
install_library "$build" "$folder/prefix"

# example NAME COMPILER
example() {
  local name=$1 compiler=$2 into=$folder/$1-$2
  cmake -S "$here/../../examples/$name" -B "$into" -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER="$compiler" \
    -DCMAKE_PREFIX_PATH="$folder/prefix" -DEVOMOE_TORCH="$torch" && cmake --build "$into"
}
started=()
for compiler in g++ clang++; do
  if ! command -v "$compiler" >/dev/null; then
    echo "examples_test: no $compiler here"
    continue
  fi
  example moe_layer "$compiler" >"$folder/moe_layer-$compiler.log" 2>&1 &
  started+=("moe_layer-$compiler:$!")
  last=$compiler
done
((${#started[@]})) || skip "neither g++ nor clang++"
for one in "${started[@]}"; do
  wait "${one#*:}" || { cat "$folder/${one%:*}.log"; fail "${one%:*} is not built"; }
done
example router "$last" >"$folder/router-$last.log" 2>&1 &
router=$!

# All public headers, the last names first, so that few have what they need from one before.
headers() { (cd "$folder/prefix/include" && find evomoe -name '*.h' | sort -r | sed 's/.*/#include "&"/'); }
headers >"$folder/headers.cpp"
"$last" -std=c++20 -fsyntax-only -I"$folder/prefix/include" -isystem "$folder/moe_layer-$last/evomoe-include" \
  -isystem "$torch/include" -isystem "$torch/include/torch/csrc/api/include" "$folder/headers.cpp" || fail "the public headers do not compile"
wait "$router" || { cat "$folder/router-$last.log"; fail "router is not built"; }

export OMP_NUM_THREADS=1
for one in "${started[@]}"; do
  "$folder/${one%:*}/moe_layer" || fail "${one%:*} does not learn"
done
router=$folder/router-$last/router
"$router" --cosine-margin 0.2 | tail -1 | grep -q '^step  99' || fail "router does not run"
"$router" --steps 2 --moe-router topk --moe-k 3 --moe-train-capacity-token-fraction 0 | tail -1 | grep -q 'experts per token 3.00' || fail "no router of evomoe in it"
"$router" --help | grep -q 'cosine-temperature' || fail "its option has no help"
code=0
"$router" --cosine-margn 1 2>"$folder/error" || code=$?
((code == 2)) && grep -q 'cosine-margin' "$folder/error" || fail "a wrong option gives $code: $(cat "$folder/error")"
# The program has what it uses.
! readelf -d "$folder/moe_layer-$last/moe_layer" | grep NEEDED | grep -E 'yaml|png' || fail "moe_layer needs more than it uses"
! nm "$folder/moe_layer-$last/moe_layer" | grep -q mkl_serv_intel_cpu_true || fail "MKL is told what nobody asked for"
