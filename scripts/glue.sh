#!/usr/bin/env bash
# RoBERTa with experts from raw text: pre-training on a text, then CoLA and RTE, each from the pre-trained model and from random weights.
# Run again to go on where it was stopped.
#   scripts/glue.sh PROGRAM TEXT GLUE FOLDER [OPTION ...]
# TEXT holds train.txt and valid.txt; GLUE holds RTE and CoLA, each with train.tsv and dev.tsv. Every OPTION is given to `evomoe train`.
# SEEDS="1 2 3" TASKS=CoLA scripts/glue.sh ... fine-tunes with other seeds than 1, and on one task.
set -euo pipefail
usage='usage: scripts/glue.sh PROGRAM TEXT GLUE FOLDER [OPTION ...]'
(($# >= 4)) || { echo "$usage" >&2; exit 2; }
program=$1 text=$2 glue=$3 folder=$4
shift 4
root=$(cd "$(dirname "$0")/.." && pwd)
data=$folder/data-bin bpe=$folder/bpe
pretraining=(--config "$root/recipes/roberta_books.yaml")
finetuning=("${pretraining[@]}" --config "$root/recipes/glue.yaml")

mkdir -p "$folder"
if [[ ! -f $bpe/vocab.bpe ]]; then
  "$program" bpe train "$text/train.txt" --vocab-size 4096 --destdir "$bpe" >&2
fi
if [[ ! -f $data/vocab.bpe ]]; then
  rm -rf "$data"
  "$program" preprocess --only-source --bpe gpt2 --gpt2-encoder-json "$bpe/encoder.json" --gpt2-vocab-bpe "$bpe/vocab.bpe" \
    --trainpref "$text/train.txt" --validpref "$text/valid.txt" --destdir "$data" >&2
fi
echo "=== pre-training" >&2
# A stop by the clock is an end, too: going on would pre-train for another twenty minutes.
if [[ ! -f $folder/pretrained ]]; then
  "$program" train "$data" "${pretraining[@]}" --config "$root/recipes/roberta_books.short.yaml" --save-dir "$folder/runs/short" "$@" >>"$folder/log"
  from=()
  if [[ ! -e $folder/runs/pretraining/checkpoint_last ]]; then
    from=(--restore-file "$folder/runs/short/checkpoint_last" --reset-dataloader)
  fi
  "$program" train "$data" "${pretraining[@]}" ${from[@]+"${from[@]}"} --save-dir "$folder/runs/pretraining" "$@" >>"$folder/log"
  touch "$folder/pretrained"
fi

declare -A updates=([CoLA]=2600 [RTE]=1000)  # of 16 rows: 5 and 6 epochs
for task in ${TASKS:-CoLA RTE}; do
  if [[ ! -f $folder/$task/label/dict.txt ]]; then
    rm -rf "${folder:?}/$task"
    python3 "$root/scripts/prepare_glue.py" "$task" "$glue/$task" "$folder/$task" "$data" --evomoe "$program" >>"$folder/log"
  fi
  for seed in ${SEEDS:-1}; do
    for start in pretrained random; do
      run=$folder/runs/$task-$start-$seed
      echo "=== $(basename "$run")" >&2
      from=()
      if [[ $start == pretrained ]]; then from=(--finetune-from-model "$folder/runs/pretraining/checkpoint_last"); fi
      "$program" train "$folder/$task" "${finetuning[@]}" ${from[@]+"${from[@]}"} --max-update "${updates[$task]}" --seed "$seed" \
        --save-dir "$run" "$@" >>"$folder/log"
    done
  done
done

python3 - "$folder/runs" <<'PYTHON'
"""The validations of the runs TASK-START-SEED: the best value of each measure, and the last one."""
import collections, json, pathlib, sys

table = collections.defaultdict(list)
for log in sorted(pathlib.Path(sys.argv[1]).glob("*-*-*/log.jsonl")):
    lines = [line for line in map(json.loads, log.open()) if line["tag"] == "valid"]
    scores = [(float(line["valid_accuracy"]), 100 * float(line.get("valid_mcc", 0.0))) for line in lines]
    table[tuple(log.parent.name.split("-")[:2])].append((tuple(map(max, zip(*scores))), scores[-1]))
print("task  start       seeds   best: accuracy  Matthews   last: accuracy  Matthews")
for (task, start), runs in table.items():
    mean = [sum(run[i][j] for run in runs) / len(runs) for i in (0, 1) for j in (0, 1)]
    print(f"{task:5} {start:11} {len(runs):5} {mean[0]:16.1f} {mean[1]:9.1f} {mean[2]:16.1f} {mean[3]:9.1f}")
PYTHON
