#!/usr/bin/env bash
# sbatch examples/slurm.sh
#
# The reference (split B) and the target (split A) as two tasks of one array, each on all GPUs of a node. Before its
# time is up SLURM signals a task; it saves between two batches, requeues itself and continues. The 600 seconds must
# cover a measurement, which is not interrupted.
# When both are done:
#   python evaluate.py memorization --target RUNS/A/checkpoints/last.ckpt --reference RUNS/B/checkpoints/last.ckpt \
#       --symmetric true --output RUNS/comparison
#SBATCH --job-name=dejavu
#SBATCH --array=0-1
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=12
#SBATCH --time=24:00:00
#SBATCH --signal=SIGUSR1@600
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

splits=(A B)
split=${splits[$SLURM_ARRAY_TASK_ID]}
run=${RUNS:-runs/slurm}/$split

# Submitted again after a crash: continue from the last checkpoint. A task that was ever requeued finds its newest by
# itself.
resume=()
if [ -f "$run/checkpoints/last.ckpt" ] && ! compgen -G "$run/hpc_ckpt_*.ckpt" > /dev/null; then
    resume=(--ckpt_path "$run/checkpoints/last.ckpt")
fi

srun python train.py fit \
    --config configs/methods/vicreg.yaml --config configs/data/imagenet.yaml --config configs/trainer/slurm.yaml \
    --trainer.num_nodes "$SLURM_JOB_NUM_NODES" --data.train_on "$split" --trainer.default_root_dir "$run" \
    "${resume[@]}" "$@"
