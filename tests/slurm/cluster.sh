#!/usr/bin/env bash
# A Slurm cluster of one node on this machine, for tests: cluster.sh start|controller|stop FOLDER
#
# Needs root and Debian's slurm-wlm and munge. Everything lies in FOLDER but two links in /etc/slurm: jobs do not inherit
# SLURM_CONF. There is no systemd, no cgroup and no accounting, as on many a small cluster.
set -euo pipefail
folder=$2
etc=/etc/slurm
host=$(hostname -s)

configure() {
    [[ ! -e $etc/slurm.conf ]] || { echo "cluster.sh: $etc/slurm.conf is there: this machine has a Slurm" >&2; exit 1; }
    mkdir -p "$folder"/{state,spool,munge}
    # A job that is put back into the queue starts again after `cred_expire` seconds. `OverMemoryKill` looks every second.
    # `config_overrides`: the machine need not have this much memory.
    cat > "$folder/slurm.conf" << CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmctldPort=26817
SlurmdPort=26818
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
MinJobAge=600
SlurmdParameters=config_overrides
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,bf_interval=1
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 Boards=1 SocketsPerBoard=1 CoresPerSocket=2 ThreadsPerCore=1 RealMemory=16000
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
    # slurmd reads this file even where nothing uses cgroups.
    printf 'CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n' > "$folder/cgroup.conf"
    ln -sf "$folder"/{slurm,cgroup}.conf "$etc"
    dd if=/dev/urandom of="$folder/munge/key" bs=1024 count=1 status=none
    chmod 400 "$folder/munge/key"
}

wait_for() { # SECONDS COMMAND...
    local left=$1
    shift
    until "$@" &> /dev/null; do
        ((left-- > 0)) || { echo "cluster.sh: '$*' did not succeed in time; see $folder/*.log" >&2; exit 1; }
        sleep 1
    done
}

idle() { [[ $(sinfo --noheader --format=%T) == idle ]]; }

case $1 in
    start)
        configure
        munged --force --socket="$folder/munge/socket" --key-file="$folder/munge/key" --pid-file="$folder/munge/pid" \
            --log-file="$folder/munge/log" --seed-file="$folder/munge/seed"
        slurmctld
        slurmd
        wait_for 30 idle
        ;;
    controller)
        slurmctld
        wait_for 30 scontrol ping
        ;;
    stop)
        scancel --user=root &> /dev/null || true
        pids=()
        for file in slurmd.pid slurmctld.pid munge/pid; do
            [[ ! -f $folder/$file ]] || pids+=("$(< "$folder/$file")")
        done
        kill "${pids[@]}" || true
        # slurmd waits for a controller that may be gone.
        sleep 2
        kill -KILL "${pids[@]}" &> /dev/null || true
        [[ $(readlink "$etc/slurm.conf") != "$folder"/* ]] || rm -f "$etc"/{slurm,cgroup}.conf
        ;;
esac
