#!/usr/bin/env bash
# Trains the runs of an experiment one after the other and compares them. Run again to go on where it was stopped.
#   scripts/experiment.sh PROGRAM EXPERIMENT DATA-BIN FOLDER [OPTION ...]
# EXPERIMENT is a name of recipes/, or a recipe of yours: PATH/NAME.yaml. The recipe alone is the run FOLDER/dense;
# each NAME.RUN.yaml beside it, laid over it, is the run FOLDER/RUN. Every OPTION is given to `evomoe train`.
#   SEEDS="1 2 3"   trains each run with each of these seeds, as FOLDER/RUN-SEED, and compares their means with
#                   their spread
set -euo pipefail
usage='usage: scripts/experiment.sh PROGRAM EXPERIMENT DATA-BIN FOLDER [OPTION ...]'
(($# >= 4)) || { echo "$usage" >&2; exit 2; }
program=$1 experiment=$2 data=$3 folder=$4
shift 4
recipes=$(cd "$(dirname "$0")/.." && pwd)/recipes
if [[ $experiment == */* || $experiment == *.yaml ]]; then
  recipe=$experiment
else
  recipe=$recipes/$experiment.yaml
fi
if [[ ! -f $recipe ]]; then
  if [[ $recipe == "$experiment" ]]; then
    echo "experiment: there is no file $experiment" >&2
  else
    names=$(cd "$recipes" && printf '%s\n' *.yaml | sed -n 's/^\([^.]*\)\.yaml$/\1/p' | paste -s -d' ')
    echo "experiment: there is no recipes/$experiment.yaml; there are: $names. A recipe of yours is given as PATH/NAME.yaml" >&2
  fi
  exit 2
fi
read -r -a seeds <<<"${SEEDS:-}"
for seed in "${seeds[@]}"; do
  if [[ ! $seed =~ ^(0|[1-9][0-9]{0,17})$ ]]; then
    echo "experiment: SEEDS=\"$SEEDS\": '$seed' is no seed; give integers, for example SEEDS=\"1 2 3\"" >&2
    exit 2
  fi
done
if [[ $(printf '%s\n' "${seeds[@]}" | sort | uniq -d) ]]; then
  echo "experiment: SEEDS=\"$SEEDS\": a seed is given twice" >&2
  exit 2
fi

train() {
  local name=$1
  shift
  echo "=== $name" >&2
  "$program" train "$data" --config "$recipe" "$@" --save-dir "$folder/$name" >>"$folder/log"
  runs+=("$folder/$name")
}

# train_seeds NAME OPTION ...: one run, or one of each seed.
train_seeds() {
  local name=$1 seed
  shift
  if [[ ${#seeds[@]} == 0 ]]; then
    train "$name" "$@"
  else
    for seed in "${seeds[@]}"; do train "$name-$seed" "$@" --seed "$seed"; done
  fi
}

mkdir -p "$folder"
shopt -s nullglob
runs=()
train_seeds dense "$@"
baseline=${runs[0]}
for over in "${recipe%.yaml}".*.yaml; do
  name=$(basename "$over" .yaml)
  name=${name#"$(basename "$recipe" .yaml)".}
  before=${#runs[@]}
  train_seeds "$name" --config "$over" "$@"
  if [[ $name == switch ]]; then baseline=${runs[before]}; fi
done
echo
group=()
if [[ ${#seeds[@]} != 0 ]]; then group=(--group); fi
"$program" compare "${runs[@]}" --baseline "$baseline" "${group[@]}"
