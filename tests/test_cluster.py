"""The SLURM examples, run under stubs of sbatch, srun and scontrol that set what SLURM sets."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from runs import ROOT, rows, small

from utils.store import Split

SCRIPTS = sorted((ROOT / "cluster").iterdir())
SBATCH = r"""#!/usr/bin/env bash
# sbatch [--option=value ...] SCRIPT [arguments]: note the call, run the script at once, once for each task of an array.
echo "sbatch $*" >>"$CALLS"
array= nodes=1
while [[ $1 == --* ]]; do
    case $1 in
        --array=*) array=${1#*=} ;;
        --nodes=*) nodes=${1#*=} ;;
    esac
    shift
done
export SLURM_SUBMIT_DIR=$PWD SLURM_CPUS_PER_TASK=1 SLURM_JOB_NUM_NODES=$nodes SLURM_JOB_NODELIST=here SLURM_JOB_ID=17
if [[ -z $array ]]; then
    bash "$@" >&2 || exit
else
    export SLURM_ARRAY_TASK_COUNT=${array#*-}
    for SLURM_ARRAY_TASK_ID in $(seq "${array%-*}" "${array#*-}"); do
        SLURM_ARRAY_TASK_ID=$SLURM_ARRAY_TASK_ID bash "$@" >&2 || exit
    done
fi
echo 17
"""
SRUN = '#!/usr/bin/env bash\necho "srun $*" >>"$CALLS"\nwhile [[ $1 == --* ]]; do shift; done\nexec "$@"\n'
SCONTROL = "#!/usr/bin/env bash\necho localhost\necho other\n"

Submit = Callable[..., subprocess.CompletedProcess]


@pytest.fixture()
def submit(tmp_path: Path) -> Submit:
    """Runs a command where SLURM seems to be; its calls are in `calls` below `tmp_path`."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "scontrol": SCONTROL}.items():
        (bin_folder / name).write_text(text)
        (bin_folder / name).chmod(0o755)
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    own = {"PATH": f"{bin_folder}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls"), "PYTHON": sys.executable}
    environment = {**os.environ, **own, "PORT": str(port), "OMP_NUM_THREADS": "1"}

    def run(*line: str, **more: str) -> subprocess.CompletedProcess:
        return subprocess.run(line, cwd=ROOT, env={**environment, **more}, capture_output=True, text=True)

    return run


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_valid_and_its_directives_stand_where_slurm_reads_them(script: Path) -> None:
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    lines = script.read_text().splitlines()
    commands = [i for i, line in enumerate(lines) if line and not line.startswith("#")]
    directives = [i for i, line in enumerate(lines) if line.startswith("#SBATCH")]
    assert all(re.fullmatch(r"#SBATCH --[a-z-]+(=\S+)?", lines[i]) for i in directives)
    assert all(i < commands[0] for i in directives)  # behind the first command they are but comments
    assert bool(directives) == (script.suffix == ".sbatch")


@pytest.mark.slow
def test_a_job_requeued_before_its_run_began_starts_it(
    submit: Submit, make_split: Callable[..., Split], tmp_path: Path
) -> None:
    make_split(train=[30, 20, 25, 18], val=[24, 16])
    (tmp_path / "run").mkdir()  # a job may be stopped at any moment before config.yaml is there
    line = small(tmp_path, tmp_path / "run", "data.split=tiny", "train.epochs=1")
    for restart in ("1", "2"):  # then its run is resumed
        outcome = submit("sbatch", "cluster/train.sbatch", *line, SLURM_GPUS_ON_NODE="1", SLURM_RESTART_COUNT=restart)
        assert outcome.returncode == 0, outcome.stderr
        assert len(rows(tmp_path / "run")) == 1


def test_a_training_job_starts_torchrun_on_every_node_and_says_once_what_is_wrong(
    submit: Submit, tmp_path: Path
) -> None:
    line = ["cluster/train.sbatch", "--set", "refine.strat=3", "--work-dir", str(tmp_path / "run")]
    outcome = submit("sbatch", *line, SLURM_GPUS_ON_NODE="2", SLURM_RESTART_COUNT="1")
    called = (tmp_path / "calls").read_text()
    assert f"srun --cpus-per-task=1 {sys.executable} -m torch.distributed.run" in called
    assert "--nnodes 1 --nproc_per_node 2 --rdzv_backend c10d --rdzv_id 17 --rdzv_endpoint localhost:" in called
    assert called.rstrip().endswith(
        "train.py --set refine.strat=3 --work-dir " + str(tmp_path / "run --resume-or-start")
    )
    assert outcome.returncode == 1
    lines = outcome.stderr.splitlines()
    (said,) = [text for text in lines if text.startswith("error: ")]
    assert said.startswith("error: --set refine.strat=3: unknown setting 'refine.strat'; did you mean 'refine.start'")
    assert (
        lines.count(f"  traceback : utils.errors.UserError: {said.removeprefix('error: ')}") == 1
    )  # torchrun's root cause
    assert not [text for text in lines[: lines.index(said)] if text.startswith("Traceback")]


def test_jobs_that_share_a_machine_use_different_ports(submit: Submit, tmp_path: Path) -> None:
    (tmp_path / "bin" / "srun").write_text('#!/usr/bin/env bash\necho "$*"\n')
    job = {"SLURM_SUBMIT_DIR": str(ROOT), "SLURM_JOB_NODELIST": "here", "SLURM_CPUS_PER_TASK": "1"}
    job |= {"SLURM_JOB_NUM_NODES": "1", "PORT": ""}
    said = [submit("bash", "cluster/train.sbatch", **job, SLURM_JOB_ID=number).stdout for number in ("17", "1234018")]
    assert [text.split("--rdzv_endpoint ")[1].split()[0] for text in said] == ["localhost:20017", "localhost:24018"]


@pytest.mark.slow
def test_a_training_job_trains_on_two_ranks(submit: Submit, make_split: Callable[..., Split], tmp_path: Path) -> None:
    make_split(train=[30, 20, 25, 18], val=[24, 16])
    line = small(tmp_path, tmp_path / "run", "data.split=tiny", "train.epochs=2")
    outcome = submit("sbatch", "cluster/train.sbatch", *line, SLURM_GPUS_ON_NODE="2")
    assert outcome.returncode == 0, outcome.stderr
    assert len(rows(tmp_path / "run")) == 2


@pytest.mark.slow
def test_an_array_of_a_sweep_does_every_run_once(
    submit: Submit, make_split: Callable[..., Split], tmp_path: Path
) -> None:
    make_split(train=[30, 20, 25, 18], val=[24, 16])
    settings = small(tmp_path, tmp_path, "data.split=tiny", "train.epochs=1")[5:]
    (tmp_path / "list.yaml").write_text(
        f"common: {{set: [{', '.join(settings)}]}}\n"
        "rows: {a: , b: {set: [data.bucketing=false]}, again: {evaluate: a}}\n"
    )
    line = [str(tmp_path / "list.yaml"), "--seeds", "5", "--out", str(tmp_path / "accuracy")]
    outcome = submit("sbatch", "--array=1-2", "cluster/sweep.sbatch", *line)
    assert outcome.returncode == 0, outcome.stderr
    done = [text for text in outcome.stderr.splitlines() if "seed 5" in text]
    assert done == ["a, seed 5: done", "again, seed 5: done", "b, seed 5: done"]
    assert "| row |" not in outcome.stdout
    outcome = submit(sys.executable, "benchmarks/accuracy.py", *line, "--table-only")
    assert [text.split()[1] for text in outcome.stdout.splitlines()[2:]] == ["a", "b", "again"]
    assert "not measured" not in outcome.stdout
