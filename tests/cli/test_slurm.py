#!/usr/bin/env python3
"""The README's script on a Slurm of one node, of this machine's own slurmctld, slurmd and munged, all on loopback; skipped
where they are missing or do not start. Prints TAP."""
import getpass
import os
import re
import shutil
import socket
import subprocess
import time

from program import ENVIRONMENT, FAST, ROOT, SPATRACK, TEMPORARY, finish, good, path, place, read, test_clip, write
from tap import Skip, skip_when_sanitized

CONFIGURATION = """
ClusterName=spatrack
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
KillWait=1
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
"""
started = []


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_for(what, seconds, why):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise Skip(why)
        time.sleep(0.1)


def cluster(folder):
    """Starts a Slurm whose files are in `folder`; returns the environment of its commands."""
    programs = {name: shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin") for name in
                ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "sinfo")}
    if not all(programs.values()):
        raise Skip("there is no Slurm")
    os.makedirs(os.path.join(folder, "state"))
    os.chmod(folder, 0o755)
    configuration = os.path.join(folder, "slurm.conf")
    write(configuration, CONFIGURATION.format(folder=folder, host=socket.gethostname().split(".")[0],
                                              user=getpass.getuser(), ports=free_ports(2)))
    if int(re.search(r"\d+", subprocess.check_output([programs["slurmd"], "-V"], text=True)).group()) >= 23:
        write(os.path.join(folder, "cgroup.conf"), "CgroupPlugin=disabled\n")
    key = write(os.path.join(folder, "munge.key"), os.urandom(128))
    os.chmod(key, 0o600)
    environment = {**ENVIRONMENT, "SLURM_CONF": configuration}

    def start(name, *arguments):
        with open(os.path.join(folder, name + ".out"), "wb") as out:
            started.append(subprocess.Popen([programs[name], *arguments], env=environment, stdout=out, stderr=out,
                                            start_new_session=True))

    start("munged", "--foreground", "--force", "--key-file", key, "--num-threads", "2",
          *(f"--{kind}-file={folder}/munge.{kind}" for kind in ("log", "pid", "seed")),
          f"--socket={folder}/munge.socket")
    wait_for(lambda: os.path.exists(f"{folder}/munge.socket"), 10, "munged does not start")
    start("slurmctld", "-D", "-f", configuration)
    start("slurmd", "-D", "-f", configuration)
    wait_for(lambda: "idle" in subprocess.run(["sinfo", "-h"], env=environment, capture_output=True, text=True).stdout, 30,
             "Slurm does not start")
    return environment


def stop():
    for process in reversed(started):
        process.terminate()
    for process in started:
        process.wait()


def an_array_with_a_killed_task_gives_the_results_of_single_runs():
    skip_when_sanitized(SPATRACK)
    how = [*FAST[:-1], "12"]
    place("clips")
    for i in range(20):
        shutil.copy(test_clip(f"made{i % 3}.mp4", "96x72", 4 + i % 3), path(f"clips/v{i}.mp4"))
    write("videos.txt", "".join(f"clips/v{i}.mp4\n" for i in range(20)))
    place("bin")
    write("bin/spatrack", f"#!/bin/sh\nexec {SPATRACK} {' '.join(how)} \"$@\"\n")
    os.chmod(path("bin/spatrack"), 0o755)
    text = read(os.path.join(ROOT, "README.md")).decode()
    write("job.sh", next(block.split("\n", 1)[1] for block in text.split("```")[1::2] if "#SBATCH" in block))
    expected = []
    for i in range(3):
        good(f"clips/v{i}.mp4", "-q", *how, "-o", "single.npz")
        expected.append(read("single.npz"))
    try:
        run_array(cluster(place("slurm")))
    finally:
        stop()
    assert sorted(os.listdir(path("tracks"))) == sorted(f"v{i}.npz" for i in range(20))
    for i in range(20):
        assert read(f"tracks/v{i}.npz") == expected[i % 3], i


def run_array(environment):
    """The array, of which a task is killed and put into the queue again once there is a first result."""
    def slurm(*command):
        return subprocess.run(command, cwd=TEMPORARY, env={**environment, "PATH": path("bin") + ":" + environment["PATH"]},
                              check=True, capture_output=True, text=True).stdout

    job = slurm("sbatch", "--parsable", "job.sh").strip()
    wait_for(lambda: os.path.exists(path("tracks")) and any(n.endswith(".npz") for n in os.listdir(path("tracks"))), 60,
             "Slurm starts no task")
    task = slurm("squeue", "-h", "-r", "-t", "running", "-o", "%i").split()[0]
    slurm("scontrol", "requeue", task)
    for _ in range(600):
        waiting = slurm("squeue", "-h", "-r", "-o", "%i %r").splitlines()
        if not waiting:
            break
        if any("BeginTime" in line for line in waiting):  # it would wait two minutes
            subprocess.run(["scontrol", "update", f"JobId={task}", "StartTime=now"], env=environment, check=False)
        time.sleep(0.2)
    assert not waiting, waiting
    assert "Restarts=1" in slurm("scontrol", "show", "job", task), job


finish([an_array_with_a_killed_task_gives_the_results_of_single_runs])
