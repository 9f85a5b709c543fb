#!/usr/bin/env bash
# The whole pipeline on synthetic data: install, make data, prepare, train, evaluate.
#   bash prepare/demo.sh          under five minutes on two cores, after installation; takes no options
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
help_if_asked "$0" "$@"
if (($#)); then
    echo "error: $1: prepare/demo.sh takes no options" >&2
    exit 2
fi
ensure_python "$root/requirements.txt"
cd "$root"

data=dataset/synthetic
run=work_dir/demo
number=1
while [[ -e "$run" ]]; do # a run is never overwritten
    run=work_dir/demo$((++number))
done

echo "== 1/4 make synthetic motion, labels and body in the formats of AMASS, BABEL and SMPL-H"
"$PYTHON" -m prepare.synthetic.generate --out "$data" --clips 240
echo "== 2/4 prepare skeletons and labels, as for the licensed data"
"$PYTHON" -m prepare.build --amass "$data/amass" --babel "$data/babel_v1.0_release" \
    --body "$data/SMPLH_male.npz" --out "$data/processed_data"
echo "== 3/4 train a narrow network"
"$PYTHON" train.py --config config/train_split1.yaml config/demo.yaml --work-dir "$run"
echo "== 4/4 evaluate the weights of the last epoch once more, from their file"
"$PYTHON" train.py --config config/train_split1.yaml config/demo.yaml --phase test --weights "$run/last.pt"

cat <<END

Done. Where to look:
  $data/processed_data/split1/card.html   the data in numbers and pictures
  $run/report.html                  the evaluation on one page
  $run/results.json                 scores, settings, versions
  $run/detections.json              detections in ActivityNet's format
  tensorboard --logdir work_dir     curves, time lines, settings
Next, with the licensed data in dataset/ and human_model/: bash prepare/generate_dataset.sh
END
if [[ "$PYTHON" == "$root/.venv/bin/python" ]]; then
    echo "All python and tensorboard commands need the environment. Activate it: source .venv/bin/activate"
fi
