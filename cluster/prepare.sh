#!/usr/bin/env bash
# Prepare the data as a SLURM array, one shard a task, and merge when all are done. Run it where jobs are submitted:
#   bash cluster/prepare.sh SHARDS [options of prepare/generate_dataset.sh]
set -euo pipefail
shards=${1:?how many shards, such as 8}
shift
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
bash prepare/generate_dataset.sh --help >/dev/null # makes .venv once, before all tasks would
array=$(sbatch --parsable --array="1-$shards" cluster/prepare.sbatch "$@")
merge=$(sbatch --parsable --dependency="afterok:${array%%;*}" --job-name=merge cluster/prepare.sbatch "$@")
echo "shards: job ${array%%;*}, merge: job ${merge%%;*}"
