#!/usr/bin/env bash
# Trains the runs of an experiment one after the other and compares them. Run again to go on where it was stopped.
#   scripts/experiment.sh PROGRAM EXPERIMENT DATA-BIN FOLDER [OPTION ...]
# recipes/EXPERIMENT.yaml alone is the run FOLDER/dense; each recipes/EXPERIMENT.NAME.yaml, laid over it, is the run FOLDER/NAME.
# Every OPTION is given to `evomoe train`.
set -euo pipefail
usage='usage: scripts/experiment.sh PROGRAM EXPERIMENT DATA-BIN FOLDER [OPTION ...]'
program=${1:?$usage} experiment=${2:?$usage} data=${3:?$usage} folder=${4:?$usage}
shift 4
recipes=$(cd "$(dirname "$0")/.." && pwd)/recipes
if [[ ! -f $recipes/$experiment.yaml ]]; then
  echo "experiment: there is no recipes/$experiment.yaml" >&2
  exit 2
fi

train() {
  local name=$1
  shift
  echo "=== $name" >&2
  "$program" train "$data" --config "$recipes/$experiment.yaml" "$@" --save-dir "$folder/$name"
}

mkdir -p "$folder"
shopt -s nullglob
runs=("$folder/dense")
train dense "$@" >>"$folder/log"
for recipe in "$recipes/$experiment".*.yaml; do
  name=$(basename "$recipe" .yaml)
  name=${name#"$experiment".}
  train "$name" --config "$recipe" "$@" >>"$folder/log"
  runs+=("$folder/$name")
done
echo
baseline=dense
if [[ -d $folder/switch ]]; then baseline=switch; fi
"$program" compare "${runs[@]}" --baseline "$folder/$baseline"
