#!/usr/bin/env bash
# What `cmake --install` makes is a library for other projects: it can be moved, find_package finds its rooms and refuses
# what it does not have, and its headers are complete. Nothing is compiled (examples_test.sh does).
# Usage: library_test.sh BUILD-FOLDER LIBTORCH
source "$(dirname "$0")/common.sh"
build=$(cd "$1" && pwd)
torch=$(cd "$2" && pwd)
unset EVOMOE_TORCH Torch_DIR CMAKE_PREFIX_PATH

install_library "$build" "$folder/first"
mv "$folder/first" "$folder/moved"
prefix=$folder/moved
package=$(dirname "$(find "$prefix" -name evomoe-config.cmake)")

# Nothing in it names the build or the clone, but for the LibTorch that it was built with.
source_folder=$(cd "$here/../.." && pwd)
! grep -rnF -e "$build" -e "$source_folder" "$package" | grep -vF "$torch" || fail "the package names the build"
! grep -rlF "$folder/first" "$prefix" || fail "the package names the prefix"

# Each header that a header includes is there, and none is of a room that is not public.
while read -r header; do
  [[ -f $prefix/include/$header ]] || fail "no header $header, which another one includes"
done < <(grep -rhoE '^#include "evomoe/[^"]+"' "$prefix/include" | sed 's/.*"\(.*\)"/\1/' | sort -u)
for room in cli bench page train; do
  [[ ! -e $prefix/include/evomoe/$room ]] || fail "headers of $room are installed"
done
for header in expert_mlp_{cuda,of_plan,plan}.h; do
  [[ -f $source_folder/evomoe/ops/$header ]] || fail "there is no ops/$header that could be left out"
  [[ ! -e $prefix/include/evomoe/ops/$header ]] || fail "ops/$header is installed, which is internal"
done

# One project, configured again with other wishes.
configure() {
  cmake -S "$here/find" -B "$folder/find" -DCMAKE_PREFIX_PATH="$prefix" -DEVOMOE_TORCH= -DTORCH_FOUND_AT= -DVERSION=0.1 \
    "$@" >"$folder/log" 2>&1
}
found() { configure "$@" || { cat "$folder/log"; fail "not found: $*"; }; }
refused() {
  local message=$1
  shift
  ! configure "$@" || fail "not refused: $*"
  # CMake breaks lines of messages.
  tr -s ' \n' ' ' <"$folder/log" | grep -qF -- "$message" || { cat "$folder/log"; fail "no '$message' for: $*"; }
}
found "-DROOMS=moe"
[[ $(cat "$folder/find/flags") == '|||' ]] || fail "flags that the program did not ask for: $(cat "$folder/find/flags")"
found "-DROOMS=moe;models;optim;checkpoint;command_line;mkl_dispatch"
refused "evomoe has no component bench. It has: base, runtime," "-DROOMS=moe;bench"
refused '0.2' -DROOMS=moe -DVERSION=0.2

# Another LibTorch, or none.
other=$folder/libtorch
mkdir -p "$other/lib" "$other/include/torch/headeronly" "$other/share/cmake/Torch"
touch "$other/lib/libtorch_cpu.so" "$other/share/cmake/Torch/TorchConfig.cmake"
sed 's/\(define TORCH_VERSION_MINOR\) .*/\1 99/' "$torch/include/torch/headeronly/version.h" \
  >"$other/include/torch/headeronly/version.h"
wrong="but $other is LibTorch 2.99"
refused "$wrong" -DROOMS=moe "-DEVOMOE_TORCH=$other"
EVOMOE_TORCH=$other refused "$wrong" -DROOMS=moe
Torch_DIR=$other/share/cmake/Torch refused "$wrong" -DROOMS=moe
refused "$wrong" -DROOMS=moe "-DTORCH_FOUND_AT=$other"
refused "find_package(Torch) has found $other, but EVOMOE_TORCH is $torch" -DROOMS=moe "-DTORCH_FOUND_AT=$other" "-DEVOMOE_TORCH=$torch"
refused "There is no LibTorch" -DROOMS=moe "-DEVOMOE_TORCH=$folder/nothing"
found -DROOMS=moe "-DEVOMOE_TORCH=$torch"
