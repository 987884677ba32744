#!/usr/bin/env bash
# Runs the fuzz targets of a build, each for some seconds, and prints a table. Fails when one of them found something.
#   fuzz.sh BUILD SECONDS [NAME ...]
# First corpora are made by the targets; BUILD/corpus keeps what was found worth trying, findings are in BUILD/findings.
set -euo pipefail

build=$1 seconds=$2
shift 2
names=("$@")
if ((${#names[@]} == 0)); then
  for program in "$build"/fuzz_*; do names+=("${program##*/fuzz_}"); done
fi
[[ -d /dev/shm ]] && export TMPDIR=/dev/shm  # a file is written for each input

stop() { kill "$running" 2>/dev/null || true; }
found=0
printf '%-12s %10s %8s %9s %9s\n' target executions seconds coverage findings
for name in "${names[@]}"; do
  corpus=$build/corpus/$name findings=$build/findings/$name log=$build/$name.log
  mkdir -p "$corpus" "$findings"
  "$build/fuzz_$name" --seeds "$corpus"
  # Inputs are at most 64 KiB: no block may be a thousand times larger, and no reader needs a gigabyte.
  (exec -a "fuzz_$name" "$build/fuzz_$name" "$corpus" -max_total_time="$seconds" -max_len=65536 -timeout=10 \
    -malloc_limit_mb=64 -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix="$findings/" >"$log" 2>&1) &
  running=$!
  trap 'stop; exit 130' INT TERM
  status=0
  wait $running || status=$?
  executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  took=$(sed -n 's/^Done .* in \([0-9]*\) second.*/\1/p' "$log")
  coverage=$(grep -o 'cov: [0-9]*' "$log" | tail -1 | cut -d' ' -f2 || true)
  printf '%-12s %10s %8s %9s %9s\n' "$name" "${executions:--}" "${took:--}" "${coverage:--}" $((status != 0))
  if ((status != 0)); then
    found=1
    grep -E 'ERROR|runtime error|what\(\)|SUMMARY|Test unit written' "$log" | sed 's/^/  /'
    echo "  all of it: $log"
  fi
done
exit $found
