#!/usr/bin/env bash
# The main job of the README: on real text, trains the same language model three times with the same number of updates - EvoMoE through all
# its stages, Switch top-1, and dense of equal active size - then compares them. Run again to go on where it was stopped.
#   scripts/demo.sh PROGRAM       DATA=file-or-folder: the text (default: the Python standard library's source files)
#                                 DEMO=folder: where everything goes (default: demo)   UPDATES=n: length of each run (default: 1200)
set -euo pipefail
program=${1:?usage: scripts/demo.sh PROGRAM}
folder=${DEMO:-demo}
updates=${UPDATES:-1200}
mkdir -p "$folder"

# --- text: every 20th file (or, of a single file, every 20th block of 100 lines) is for validation ------------------------------
if [[ ! -f $folder/text/train.txt ]]; then
  data=${DATA:-$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["stdlib"])')}
  echo "text: $data" >&2
  mkdir -p "$folder/text.partial"
  if [[ -d $data ]]; then
    pattern='*'
    [[ -z ${DATA:-} ]] && pattern='*.py'
    find -L "$data" -type f -name "$pattern" -not -path '*/site-packages/*' -not -path '*/__pycache__/*' -print0 | sort -z >"$folder/text.partial/files"
    : >"$folder/text.partial/train.txt"
    : >"$folder/text.partial/valid.txt"
    n=0
    while IFS= read -r -d '' file; do
      n=$((n + 1))
      if ((n % 20 == 0)); then cat "$file" >>"$folder/text.partial/valid.txt"; else cat "$file" >>"$folder/text.partial/train.txt"; fi
    done <"$folder/text.partial/files"
  else
    awk -v v="$folder/text.partial/valid.txt" -v t="$folder/text.partial/train.txt" \
      '{ if (int(NR / 100) % 20 == 19) print >v; else print >t }' "$data"
  fi
  if [[ ! -s $folder/text.partial/train.txt || ! -s $folder/text.partial/valid.txt ]]; then
    echo "demo: there is too little text in $data; give a larger file or folder with DATA=..." >&2
    exit 1
  fi
  rm -f "$folder/text.partial/files"
  mv "$folder/text.partial" "$folder/text"
fi

# --- byte-level BPE and binary data ------------------------------------------------------------------------------------------------
if [[ ! -f $folder/bpe/vocab.bpe ]]; then
  "$program" bpe train "$folder/text/train.txt" --vocab-size 4096 --workers "$(nproc)" --destdir "$folder/bpe"
fi
if [[ ! -f $folder/data-bin/vocab.bpe ]]; then
  rm -rf "$folder/data-bin"
  "$program" preprocess --only-source --trainpref "$folder/text/train.txt" --validpref "$folder/text/valid.txt" \
    --bpe gpt2 --gpt2-encoder-json "$folder/bpe/encoder.json" --gpt2-vocab-bpe "$folder/bpe/vocab.bpe" \
    --workers "$(nproc)" --destdir "$folder/data-bin"
fi

# --- three runs ----------------------------------------------------------------------------------------------------------------------
common=(--arch transformer_lm_gpt --decoder-layers 4 --decoder-embed-dim 128 --decoder-ffn-embed-dim 512 --decoder-attention-heads 4
  --share-decoder-input-output-embed --dropout 0 --attention-dropout 0 --tokens-per-sample 256 --batch-size 8
  --lr 0.002 --lr-scheduler polynomial_decay --warmup-updates 50 --adam-betas '(0.9, 0.98)' --weight-decay 0.01 --clip-norm 1
  --max-update "$updates" --validate-interval-updates 50 --max-valid-steps 20 --save-interval-updates 100 --keep-interval-updates 1
  --symlink --write-checkpoints-asynchronously --log-interval 50 --seed 1)
moe=(--moe-freq 2 --moe-expert-count 8 --criterion moe_cross_entropy --moe-eval-capacity-token-fraction -1
  --moe-gate-loss-combine-method sum)

train() {
  local name=$1
  shift
  echo "=== $name" >&2
  "$program" train "$folder/data-bin" --save-dir "$folder/$name" "${common[@]}" "$@" >>"$folder/$name.log"
}

train dense
train switch "${moe[@]}" --moe-top1-expert --moe-train-capacity-token-fraction 2 --moe-gate-loss-wt 0.01
train evomoe "${moe[@]}" --moe-topk-expert --moe-gate-loss-wt 0.01 --use-gumbel-softmax --gumbel-decay-scheduler Linear \
  --shared-expert-updates $((updates / 4)) --diversify drop-upcycling --diversify-ratio 0.5 \
  --max-temperature 2 --min-temperature 0.3 --gumbel-decay-factor $((updates / 4)) \
  --switch-to-hard-gumbel-softmax $((updates * 3 / 8)) --sparse-stage-noise 0

# --- what came out -------------------------------------------------------------------------------------------------------------------
echo
"$program" compare "$folder/dense" "$folder/switch" "$folder/evomoe" --baseline switch
echo
echo "Text by EvoMoE:"
"$program" generate --path "$folder/evomoe/checkpoint_last" --prompt "def main(" --max-len 120 --ignore-eos --sampling --temperature 0.8 --sampling-topk 40 --seed 1
echo
echo "Run folders: $folder/dense $folder/switch $folder/evomoe"
