#!/bin/bash
# The command of the authors' README, with its own logic for the number of processes.
# Usage: readme_command.sh EVOMOE DATA SAVE_DIR [OVERRIDE...]
set -eu
EVOMOE=$1 DATA=$2 SAVE_DIR=$3
shift 3

if [ -n "${OMPI_COMM_WORLD_SIZE:-}" ]; then  # started by mpirun: one script per node
  NODES=$OMPI_COMM_WORLD_SIZE
  NODE_RANK=${OMPI_COMM_WORLD_RANK:-0}
  MASTER=${MASTER_ADDR:-127.0.0.1}
else
  NODES=1
  NODE_RANK=0
  MASTER=127.0.0.1
fi
GPUS=${DLWS_NUM_GPU_PER_WORKER:-1}
WORLD_SIZE=$((NODES * GPUS))
RANK=$((NODE_RANK * GPUS))

exec "$EVOMOE" train \
  --distributed-world-size $WORLD_SIZE --distributed-rank $RANK \
  --distributed-init-method "tcp://$MASTER:${MASTER_PORT:-54321}" \
  "$DATA" --task language_modeling --arch transformer_lm_gptxl_moe \
  --share-decoder-input-output-embed --tokens-per-sample 16 --batch-size 4 --update-freq 1 \
  --lr 0.001 --lr-scheduler polynomial_decay --warmup-updates 2 \
  --optimizer adam --adam-betas '(0.9, 0.98)' --adam-eps 1e-08 --clip-norm 5.0 \
  --weight-decay 0.1 --dropout 0.1 --criterion cross_entropy \
  --write-checkpoints-asynchronously --save-dir "$SAVE_DIR" --save-interval-updates 4 \
  --num-workers 1 --ddp-backend fully_sharded --checkpoint-activations \
  --max-update 8 --total-num-update 8 --validate-interval-updates 4 \
  --log-format json --log-interval 2 --symlink --seed 1234 "$@"
