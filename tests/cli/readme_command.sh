#!/bin/bash
# The command of the authors' README with its logic for the number of processes, on the variables
# that it reads: DLWS_NUM_GPU_PER_WORKER, MASTER_IP, MASTER_PORT, OMPI_COMM_WORLD_SIZE and _RANK
# (of mpirun, one script a node), DATA_PATH, TOKENS_PER_SAMPLE, BATCH_SIZE, UPDATE_FREQ, LR,
# WARMUP_STEPS, CHECKPOINT_PATH, CHECKPOINT_FREQUENCY, DLWS_NUM_WORKER, MAX_UPDATES, LOG_PATH.
# Usage: readme_command.sh EVOMOE [FLAG...]; the flags stand behind the README's.
set -o pipefail
EVOMOE=$1
shift

world=$DLWS_NUM_GPU_PER_WORKER
rank=0
if [[ -n ${OMPI_COMM_WORLD_SIZE} ]] && ((OMPI_COMM_WORLD_SIZE != 1)); then
  world=$((OMPI_COMM_WORLD_SIZE * DLWS_NUM_GPU_PER_WORKER))
  rank=$((OMPI_COMM_WORLD_RANK * DLWS_NUM_GPU_PER_WORKER))
fi
ddp_options="--distributed-world-size $world --distributed-rank $rank"
ddp_options+=" --distributed-init-method tcp://$MASTER_IP:$MASTER_PORT"
echo "ddp_options: $ddp_options"

"$EVOMOE" train $ddp_options \
  ${DATA_PATH} --task language_modeling --arch transformer_lm_gptxl_moe \
  --share-decoder-input-output-embed \
  --tokens-per-sample ${TOKENS_PER_SAMPLE} --batch-size ${BATCH_SIZE} \
  --update-freq ${UPDATE_FREQ} \
  --lr ${LR} --lr-scheduler polynomial_decay --warmup-updates ${WARMUP_STEPS} \
  --optimizer adam --adam-betas '(0.9, 0.98)' --adam-eps 1e-08 \
  --clip-norm 5.0 --weight-decay 0.1 --dropout 0.1 --criterion cross_entropy \
  --write-checkpoints-asynchronously --save-dir ${CHECKPOINT_PATH} \
  --save-interval-updates ${CHECKPOINT_FREQUENCY} --num-workers ${DLWS_NUM_WORKER} \
  --ddp-backend fully_sharded --checkpoint-activations \
  --max-update ${MAX_UPDATES} --total-num-update ${MAX_UPDATES} \
  --validate-interval-updates ${CHECKPOINT_FREQUENCY} \
  --log-format json --log-interval 100 --symlink --seed 1234 "$@" 2>&1 | tee -a "$LOG_PATH"
