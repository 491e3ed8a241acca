#!/usr/bin/env bash
# A SLURM cluster of one node in a scratch folder: runs the slides through `execution.slurm`, twice.
# In the second run a job is killed (scancel) halfway. Nothing may be lost, and no slide done twice.
#
#     scripts/try_slurm.sh SLIDES...
#
# Needs, as root (slurmd asks for it): apt-get install slurm-wlm munge; and this project's Python with
# its extra `slurm` (PYTHON=..., default: the set-up's own). Touches nothing outside the scratch folder;
# its daemons have a key, sockets and ports of their own, no cgroups and no systemd, and end with it.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
[[ $# -gt 0 ]] || { sed -n '2,9p' "${BASH_SOURCE[0]}"; exit 2; }
for program in munged slurmctld slurmd sbatch scancel squeue scontrol; do
    command -v "$program" >/dev/null || { echo "no $program: apt-get install slurm-wlm munge" >&2; exit 2; }
done
"$python" -c "import dask_jobqueue" || { echo "pip install 'wsi-pipeline[slurm]'" >&2; exit 2; }

scratch=$(mktemp -d)
chmod 755 "$scratch" # munged wants its socket in reach of all
export SLURM_CONF=$scratch/slurm.conf PYTHONPATH=$root
pids=()
finish() {
    scancel --quiet --user "$(id -un)" 2>/dev/null || true
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait
    if [[ -n ${KEEP:-} ]]; then echo "kept: $scratch"; else rm -rf "$scratch"; fi
}
trap finish EXIT

start_cluster() {
    mkdir "$scratch"/{state,spool,log}
    head -c 1024 /dev/urandom >"$scratch/munge.key"
    chmod 600 "$scratch/munge.key"
    munged --foreground --socket "$scratch/munge.socket" --key-file "$scratch/munge.key" \
        --pid-file "$scratch/munged.pid" --seed-file "$scratch/munge.seed" \
        --log-file "$scratch/log/munged" 2>/dev/null &
    pids+=($!)
    cat >"$SLURM_CONF" <<CONF
ClusterName=trial
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=17817
SlurmdPort=17818
AuthType=auth/munge
AuthInfo=socket=$scratch/munge.socket
CredType=cred/munge
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
StateSaveLocation=$scratch/state
SlurmdSpoolDir=$scratch/spool
SlurmctldPidFile=$scratch/slurmctld.pid
SlurmdPidFile=$scratch/slurmd.pid
SlurmctldLogFile=$scratch/log/slurmctld
SlurmdLogFile=$scratch/log/slurmd
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$(slurmd -C | grep -oP 'RealMemory=\K\d+')
PartitionName=trial Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
    until [[ -S $scratch/munge.socket ]]; do sleep 0.1; done
    slurmctld -D 2>/dev/null &
    pids+=($!)
    slurmd -D 2>/dev/null &
    pids+=($!)
    for _ in {1..100}; do
        [[ $(sinfo --noheader --format %T 2>/dev/null) == idle ]] && return
        sleep 0.2
    done
    echo "the cluster does not come up:" >&2
    tail "$scratch"/log/* >&2
    exit 1
}

# The shipped file, but for what a cluster has to be asked for here: a job a core, of one worker.
config() {
    "$python" - "$root/configs/slurm.yaml" "$(nproc)" "$python" "$scratch" <<'PYTHON'
import sys, yaml
source, jobs, python, scratch = sys.argv[1:]
config = yaml.safe_load(open(source))
config["execution"]["slurm"] |= {
    "jobs": int(jobs), "cores": 1, "processes": 1, "memory": "3GB", "python": python,
    "walltime": "00:10:00", "log_directory": scratch + "/log",
}
print(yaml.safe_dump(config))
PYTHON
}

run() { # OUT SLIDES...
    local out=$1
    shift
    "$python" -m wsi_pipeline run "$@" -o "$out" -c "$scratch/slurm.yaml" >"$out.log" 2>&1
}

finished() { "$python" - "$1" <<'PYTHON'
import json, pathlib, sys
states = [json.loads(path.read_text())["state"] for path in pathlib.Path(sys.argv[1]).glob("slides/*/status.json")]
print(sum(state in ("done", "empty", "failed") for state in states))
PYTHON
}

start_cluster
config >"$scratch/slurm.yaml"
echo "cluster: $(sinfo --noheader --format '%D node, %C cores (allocated/idle/other/all)')"

SECONDS=0
run "$scratch/quiet" "$@" || { tail -20 "$scratch/quiet.log"; exit 1; }
echo "undisturbed: $(grep ' done, ' "$scratch/quiet.log"), $SECONDS s"

SECONDS=0
run "$scratch/killed" "$@" &
pid=$!
until [[ $(finished "$scratch/killed") -ge 5 ]]; do
    kill -0 "$pid" || { tail -20 "$scratch/killed.log"; exit 1; }
    sleep 0.5
done
victim=$(squeue --noheader --states RUNNING --format %A | head -1)
echo "after $SECONDS s and $(finished "$scratch/killed") slides: scancel $victim, of $(squeue --noheader --states RUNNING --format %A | wc -l) jobs"
scancel --signal KILL --full "$victim"
wait "$pid" || { tail -20 "$scratch/killed.log"; exit 1; }
echo "with a job killed: $(grep ' done, ' "$scratch/killed.log"), $SECONDS s"

"$python" "$root/scripts/compare_outputs.py" "$scratch/quiet" "$scratch/killed"
"$python" - "$scratch/killed" <<'PYTHON'
import collections, csv, json, pathlib, sys
out = pathlib.Path(sys.argv[1])
rows = [row["slide_id"] for row in csv.DictReader((out / "summary.csv").open(encoding="utf-8-sig"))]
told = collections.Counter(line.split(": ")[0] for line in open(f"{out}.log") if ": IDC" in line)
again = [p for p in out.glob("slides/*/status.json") if json.loads(p.read_text())["attempt"] > 1]
print(f"{len(rows)} rows, {len(set(rows))} slides; told as done: {len(told)}, twice: "
      f"{sum(n > 1 for n in told.values())}; begun again after the kill: {len(again)}")
PYTHON
