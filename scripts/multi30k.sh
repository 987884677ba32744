#!/usr/bin/env bash
# From raw text to BLEU: English to German captions, dense, Switch and EvoMoE. Run again to go on where it was stopped.
#   scripts/multi30k.sh PROGRAM MULTI30K FOLDER [OPTION ...]
# MULTI30K holds train.{en,de}, val.{en,de} and test_2016_flickr.{en,de}, one caption a line. Every OPTION is given to `evomoe train`.
set -euo pipefail
usage='usage: scripts/multi30k.sh PROGRAM MULTI30K FOLDER [OPTION ...]'
(($# >= 3)) || { echo "$usage" >&2; exit 2; }
program=$1 text=$2 folder=$3
shift 3
scripts=$(cd "$(dirname "$0")" && pwd)
data=$folder/data-bin bpe=$folder/bpe
files=(--gpt2-encoder-json "$bpe/encoder.json" --gpt2-vocab-bpe "$bpe/vocab.bpe")

mkdir -p "$folder"
if [[ ! -f $bpe/vocab.bpe ]]; then
  "$program" bpe train "$text/train.en" "$text/train.de" --vocab-size 4000 --destdir "$bpe" >&2
fi
if [[ ! -f $data/vocab.bpe ]]; then
  rm -rf "$data"
  "$program" preprocess -s en -t de --joined-dictionary --bpe gpt2 "${files[@]}" --destdir "$data" \
    --trainpref "$text/train" --validpref "$text/val" --testpref "$text/test_2016_flickr" >&2
fi
"$scripts/experiment.sh" "$program" multi30k "$data" "$folder/runs" "$@"
for run in "$folder"/runs/*/; do
  run=${run%/}
  "$program" generate "$data" --path "$run/checkpoint_best" --gen-subset test --beam 5 --batch-size 128 --scoring sacrebleu \
    >"$run/generate.txt"
  echo "$(basename "$run"): $(tail -n 1 "$run/generate.txt")"
done
