#!/usr/bin/env bash
# Extract DFDC on a Slurm cluster: one task of the array per slice, then the tables.
#
#   sbatch examples/slurm.sh
#
# The folder that you submit from must be on a disk that all nodes share, with a link or folder
# `dfdc` (the parts) and the environment `.venv`. Tasks may run at once, later, or again; submit the
# same script again to finish what failed.
#SBATCH --job-name=dfdc-prep
#SBATCH --array=1-32
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=12:00:00
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"
. .venv/bin/activate

if [ "${1:-}" = gather ]; then
  dfdc-prep gather faces
  exit
fi

if [ "$SLURM_ARRAY_TASK_ID" = 1 ]; then
  # Runs when all tasks have ended, however they ended: a task with failed clips exits with 3.
  sbatch --job-name=dfdc-gather --array=1 --time=01:00:00 \
    --dependency="afterany:$SLURM_ARRAY_JOB_ID" "$0" gather
fi
dfdc-prep extract dfdc faces --frames 10 --workers "$SLURM_CPUS_PER_TASK" \
  --slice "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
