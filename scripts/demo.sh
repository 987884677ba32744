#!/usr/bin/env bash
# The main job of the README: on real text, trains the same language model three times with the same number of updates - EvoMoE through all
# its stages, Switch top-1, and dense of equal active size (recipes/demo*.yaml) - then compares them. Run again to go on where it was stopped.
#   scripts/demo.sh PROGRAM       DATA=file-or-folder: the text (default: the Python standard library's source files)
#                                 DEMO=folder: where everything goes (default: demo)
#                                 THREADS=n: threads of each run (default: those of the machine); 1 stands other
#                                 busy programs best
set -euo pipefail
(($# >= 1)) || { echo "usage: scripts/demo.sh PROGRAM" >&2; exit 2; }
program=$1
folder=${DEMO:-demo}
scripts=$(dirname "$0")
if [[ -n ${DATA:-} ]]; then
  source=$DATA pattern='*'
else
  source=$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["stdlib"])') pattern='*.py'
fi
mkdir -p "$folder"

if [[ ! -d $folder/text ]]; then
  echo "text: $source" >&2
  python3 "$scripts/split_text.py" "$source" "$folder/text" "$pattern"
elif [[ $(cat "$folder/text/source") != "$(python3 -c 'import pathlib, sys; print(pathlib.Path(sys.argv[1]).resolve())' "$source")" ]]; then
  echo "demo: $folder holds runs on $(cat "$folder/text/source"); for $source name another folder with DEMO=..., or remove this one" >&2
  exit 2
fi

if [[ ! -f $folder/bpe/vocab.bpe ]]; then
  "$program" bpe train "$folder/text/train.txt" --vocab-size 4096 --keep-whitespace --workers "$(nproc)" --destdir "$folder/bpe"
fi
if [[ ! -f $folder/data-bin/vocab.bpe ]]; then
  rm -rf "$folder/data-bin"
  "$program" preprocess --only-source --trainpref "$folder/text/train.txt" --validpref "$folder/text/valid.txt" \
    --bpe gpt2 --gpt2-encoder-json "$folder/bpe/encoder.json" --gpt2-vocab-bpe "$folder/bpe/vocab.bpe" --keep-whitespace \
    --workers "$(nproc)" --destdir "$folder/data-bin"
fi

options=(${THREADS:+--threads "$THREADS"})
comparison=$(SEEDS="" "$scripts/experiment.sh" "$program" demo "$folder/data-bin" "$folder" "${options[@]}")
prompt="def main("
if [[ -n ${DATA:-} ]]; then prompt=$(awk 'NF > 3 { print $1, $2, $3; exit }' "$folder/text/valid.txt"); fi
echo
echo "How each continues '$prompt':"
for run in dense switch evomoe; do
  echo
  echo "--- $run"
  "$program" generate --path "$folder/$run/checkpoint_last" --prompt "$prompt" --max-len 80 --ignore-eos --sampling --temperature 0.8 \
    --sampling-topk 40 --seed 1 "${options[@]}"
done
echo "$comparison"
echo
echo "Run folders: $folder/dense $folder/evomoe $folder/switch. Their curves: $program plot $folder/{dense,switch,evomoe} -o curves.svg"
