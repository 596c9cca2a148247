#!/bin/bash

#SBATCH --job-name=parsl.model.block-0.TIME
#SBATCH --output=RUN.run/parsl/parsl.model.block-0.TIME.stdout
#SBATCH --error=RUN.run/parsl/parsl.model.block-0.TIME.stderr
#SBATCH --nodes=1
#SBATCH --time=720
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1

#SBATCH --partition=gpu
#SBATCH --cpus-per-task=16


export PARSL_CORES=16


export JOBNAME="parsl.model.block-0.TIME"

set -e
export CORES=$(getconf _NPROCESSORS_ONLN)
[[ "1" == "1" ]] && echo "Found cores : $CORES"
WORKERCOUNT=1
FAILONANY=0
PIDS=""

CMD() {
/usr/bin/env -u PYTHONPATH -u PYTHONHOME PYTHONNOUSERSITE=1 PYTHON PSIFLOW/psiflow_cli/worker/pool/supervisor.py RUN.run/parsl/model.supervisor.json PYTHON PSIFLOW/psiflow_cli/worker/pool/light_parsl.py BIN/process_worker_pool.py  --max_workers_per_node=1 -a ADDRESSES -p 0 -c 1e-06 -m None --poll 10 --port=50000 --cert_dir RUN.run/parsl/certificates --logdir=RUN.run/parsl/model --logconf=None --block_id=0 --hb_period=3 --address_probe_timeout=600 --hb_threshold=600 --drain_period=None --cpu-affinity block  --mpi-launcher=mpiexec --available-accelerators 
}
for COUNT in $(seq 1 1 $WORKERCOUNT); do
    [[ "1" == "1" ]] && echo "Launching worker: $COUNT"
    CMD $COUNT &
    PIDS="$PIDS $!"
done

ALLFAILED=1
ANYFAILED=0
for PID in $PIDS ; do
    wait $PID
    if [ "$?" != "0" ]; then
        ANYFAILED=1
    else
        ALLFAILED=0
    fi
done

[[ "1" == "1" ]] && echo "All workers done"
if [ "$FAILONANY" == "1" ]; then
    exit $ANYFAILED
else
    exit $ALLFAILED
fi


# submitted with: sbatch RUN.run/parsl/parsl.model.block-0.TIME
