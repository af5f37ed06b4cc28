#!/usr/bin/env python3
"""Many videos: lists, folders, side by side, killed and begun again, shared by processes. Prints TAP."""
import collections
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import time

from arrays import read_npz
from program import (BALL, ENVIRONMENT, FAST, ROOT, SPATRACK, TEMPORARY, clip, files, finish, good, path, place, read,
                     refused, run, test_clip, write)
from tap import Skip, complaints, skip_when_sanitized


def videos(folder, count, frames=4):
    """Short clips in a folder of their own, three different ones in turn."""
    place(folder)
    names = [f"{folder}/v{i}.mp4" for i in range(count)]
    for i, name in enumerate(names):
        shutil.copy(test_clip(f"made{i % 3}.mp4", "96x72", frames + i % 3), path(name))
    return names


def single(name):
    """The bytes of a run of this video alone."""
    good(name, "-q", *FAST, "-o", "single.npz")
    data = read("single.npz")
    os.remove(path("single.npz"))
    return data


def lines_of(report):
    return [json.loads(line) for line in read(report).splitlines()]


def paths_of(report):
    return [line["input"]["path"] for line in lines_of(report)]


def listed(names, separator="\n"):
    return separator.join(names) + separator


def run_list(text, *arguments, **more):
    return subprocess.run([SPATRACK, "--list", "-", *map(str, arguments)], input=text, capture_output=True, cwd=TEMPORARY,
                          env=ENVIRONMENT, encoding="utf-8", timeout=600, **more)


def summary(done):
    return done.stderr.splitlines()[-1]


# What is given -----------------------------------------------------------------------------------

def a_list_is_read_as_it_comes():
    names = videos("comes", 3)
    process = subprocess.Popen([SPATRACK, "--list", "-", *FAST, "-o", "comes/out/new/"], stdin=subprocess.PIPE,
                               stderr=subprocess.PIPE, cwd=TEMPORARY, env=ENVIRONMENT)
    for i, name in enumerate(names):
        process.stdin.write(f"{name}\n".encode())
        process.stdin.flush()
        for _ in range(6000):  # the next is written only once this one is done
            if os.path.exists(path(f"comes/out/new/v{i}.npz")):
                break
            time.sleep(0.01)
        assert os.path.exists(path(f"comes/out/new/v{i}.npz")), i
    _, stderr = process.communicate()
    assert process.returncode == 0 and b"3 videos: 3 done" in stderr.splitlines()[-1], stderr
    assert sorted(os.listdir(path("comes/out/new"))) == ["v0.npz", "v1.npz", "v2.npz"]
    assert read("comes/out/new/v1.npz") == single(names[1])


def a_line_says_where_its_result_goes():
    one, two, three = videos("where", 3)
    odd = "where/a\nb\tc.mp4"
    os.rename(path(three), path(odd))
    text = listed([f"{one}\twhere/deep/er/x.npz", f"{two}\twhere/y.csv", "", f"{odd}\t"], "\0")
    done = run_list(text, "-0", *FAST)
    assert done.returncode == 0 and "3 videos: 3 done" in summary(done), done.stderr
    assert {"x.npz", "y.csv", "a\nb\tc.npz"} <= set(os.listdir(path("where")) + os.listdir(path("where/deep/er")))
    done = run_list(f"{two}\twhere/z.npz\r\n{one}", *FAST)  # a last line without its end
    assert done.returncode == 0 and os.path.exists(path("where/z.npz")) and os.path.exists(path("where/v0.npz")), done
    write("where/list.txt", f"{one}\n")
    good("--list", "where/list.txt", two, *FAST, "-o", "where/both/")
    assert sorted(os.listdir(path("where/both"))) == ["v0.npz", "v1.npz"]


def a_folder_of_videos_is_its_videos():
    names = videos("folder", 3)
    write("folder/notes.txt", "not a video")
    done = good("folder", *FAST, "-o", "folder/out/")
    assert "3 videos: 3 done" in summary(done) and len(os.listdir(path("folder/out"))) == 3, done.stderr
    done = run_list("folder\tfolder/too/\n", *FAST, "-o", "folder/elsewhere/")
    assert done.returncode == 0 and "3 videos" in summary(done) and len(os.listdir(path("folder/too"))) == 3, done
    clip("folder/f1.png", "-i", path(names[0]), "-frames:v", "1")  # beside an image they are no videos to track
    good("folder", *FAST, "-o", "images.npz")
    assert read_npz(path("images.npz"))["video"].shape[0] == 1


def one_bad_video_does_not_stop_the_others():
    names = videos("bad", 3)
    write("bad/b.mp4", "no video")
    text = listed([names[0], "bad/b.mp4", "bad/none.mp4", *names[1:]])
    done = run_list(text, "-q", *FAST, "-o", "bad/out/", "--report", "bad/r.json")
    lines = complaints(done.stderr)
    assert done.returncode == 1 and len(lines) == 3 and "2 of 5 videos failed; 3 done" in lines[-1], lines
    assert any("bad/b.mp4" in line for line in lines) and any("bad/none.mp4: cannot open" in line for line in lines)
    assert sorted(os.listdir(path("bad/out"))) == ["v0.npz", "v1.npz", "v2.npz"]
    report = {line["input"]["path"]: line for line in lines_of("bad/r.json")}
    assert report.keys() == {*names, "bad/b.mp4", "bad/none.mp4"} and len(lines_of("bad/r.json")) == 5
    assert report["bad/none.mp4"]["status"] == 3 and "No such file" in report["bad/none.mp4"]["error"]
    assert report[names[1]]["seconds"] > 0 and "status" not in report[names[1]]
    done = run_list(text, "-q", *FAST, "-o", "bad/fast/", "--fail-fast", "--jobs", 1)
    assert done.returncode == 1 and "1 of 2 videos failed; 1 done" in complaints(done.stderr)[-1], done.stderr
    assert os.listdir(path("bad/fast")) == ["v0.npz"]


def no_file_of_a_list_is_lost():
    one, two = videos("lost", 2)
    kept = {name: read(name) for name in (one, two)}
    write("lost/own.npz", "somebody else's")
    write("lost/r.json", "somebody else's")
    for text, message in ((f"{one}\t{two[:-4]}.npz\n{two}\n", "the results of two videos would go there"),
                          (f"{one}\tlost/x.npz\n{two}\tlost/x.npz\n", "the results of two videos would go there"),
                          (f"{one}\n{two}\tlost/../{one[:-4]}.npz\n", "the results of two videos would go there"),
                          (f"{one}\t{one}\n{two}\n", "must end in .npz or .csv"),
                          (f"{one}\n{two}\tlost/own.npz\n", "was not written by spatrack"),
                          (f"{one}\tlost/w.npz\nlost/w.npz\tlost/w2.npz\n", "would replace the video of another"),
                          (f"{one}\tlost/w.npz\nlost/own.npz\tlost/../lost/own.npz\n", "the result would replace the video; name"),
                          (f"{one}\n-\n", "standard input and output")):
        done = run_list(text, "-q", *FAST)
        assert done.returncode == 1 and message in done.stderr and "1 of 2 videos failed; 1 done" in done.stderr, done
        assert {name: read(name) for name in kept} == kept, text
        for name in os.listdir(path("lost")):
            if name.endswith(".npz") and name != "own.npz":
                os.remove(path("lost", name))
    assert read("lost/own.npz") == b"somebody else's"
    refused(7, "lost/r.json exists and was not written by spatrack", one, two, *FAST, "--report", "lost/r.json")
    done = run_list(f"{one}\n{one}\n", *FAST)  # the same twice is done once
    assert done.returncode == 0 and "2 videos: 1 done, 1 done before" in summary(done), done.stderr
    refused(2, "the results of two videos", one, "lost/../" + one, "-o", "lost/missing/")


# What was done before ----------------------------------------------------------------------------

def finished_results_are_left_alone():
    names = videos("skip", 2)
    write("skip/q.csv", "0,10,10\n")
    more = ["--cameras", "skip/out/", "-o", "skip/out/", "--skip-done"]

    def done(*arguments):
        before = {name: files()[path("skip/out", name)] for name in os.listdir(path("skip/out"))
                  if name.endswith("npz")} if os.path.exists(path("skip/out")) else {}
        said = summary(good(*names, *FAST, *more, *arguments))
        after = {name: files()[path("skip/out", name)] for name in os.listdir(path("skip/out")) if name.endswith("npz")}
        changed = sum(after[name] != before.get(name) for name in after)
        assert f"2 videos: {changed} done" in said, (said, changed)
        return changed

    assert done() == 2 and done() == 0
    assert read("skip/out/v1.npz") == single(names[1])  # the flag changes no byte
    assert done("--seed", 1) == 2 and done("--seed", 1) == 0 and done() == 2  # other settings
    assert done("--omit", "video") == 2 and done("--omit", "video") == 0 and done() == 2
    os.remove(path("skip/out/v0.json"))
    assert done() == 1
    os.utime(path("skip/out/v0.json"), (0, 0))  # of a run before this one
    assert done() == 1
    write("skip/out/v1.npz", read("skip/out/v1.npz")[:-100])  # no longer whole
    assert run(*names, *FAST, *more).returncode == 1  # and so nothing that may be replaced
    os.remove(path("skip/out/v1.npz"))
    assert done() == 1
    os.utime(path(names[0]))
    assert done() == 1 and done() == 0
    shutil.copy(test_clip("made2.mp4", "96x72", 6), path(names[1]))
    os.utime(path(names[1]), (0, 0))  # another video, and an old one
    assert done() == 1 and done() == 0
    good(names[0], *FAST[:4], *FAST[6:], "--queries", "skip/q.csv", "-o", "skip/q.npz", "--skip-done")
    first = files()[path("skip/q.npz")]
    good(names[0], *FAST[:4], *FAST[6:], "--queries", "skip/q.csv", "-o", "skip/q.npz", "--skip-done")
    assert files()[path("skip/q.npz")] == first
    write("skip/q.csv", "0,20,10\n")
    os.utime(path("skip/q.csv"), (0, 0))
    good(names[0], *FAST[:4], *FAST[6:], "--queries", "skip/q.csv", "-o", "skip/q.npz", "--skip-done")
    assert files()[path("skip/q.npz")] != first
    for _ in range(2):  # which does not say what it is from
        assert "tracks" in good(names[0], *FAST, "-o", "skip/t.csv", "--skip-done").stderr
    done_before = good(names[0], *FAST, "--cameras", "skip/out/", "-o", "skip/out/", "--skip-done", "-n")
    assert "tracks" not in done_before.stderr  # a finished one is no file in the way


# Shared by processes -----------------------------------------------------------------------------

def a_lock_keeps_another_process_away():
    one, two = videos("lock", 2)
    lock = path("lock/.v0.npz.lock")
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = good(one, two, *FAST)
        assert "1 done, 1 left to others" in summary(done), done.stderr
        assert sorted(os.listdir(path("lock"))) == [".v0.npz.lock", "v0.mp4", "v1.mp4", "v1.npz"]
        refused(7, "is being written by another process", one, *FAST, "--skip-done")
    write("lock/.v0.npz.AbCdEf.tmp", "left behind")  # the owner has died
    good(one, two, *FAST)
    assert sorted(os.listdir(path("lock"))) == ["v0.mp4", "v0.npz", "v1.mp4", "v1.npz"]


def a_file_with_the_name_of_a_lock_stays():
    one, two = videos("not-a-lock", 2)
    write("not-a-lock/.v0.npz.lock", "a user's own")
    assert "2 done" in summary(good(one, two, *FAST))
    assert read("not-a-lock/.v0.npz.lock") == b"a user's own"
    assert sorted(os.listdir(path("not-a-lock"))) == [".v0.npz.lock", "v0.mp4", "v0.npz", "v1.mp4", "v1.npz"]


def two_processes_do_each_video_once():
    skip_when_sanitized(SPATRACK)
    names = videos("share", 10)
    both = [subprocess.Popen([SPATRACK, "--list", "-", *FAST, "--skip-done", "--report", "share/r.json", "--threads", "1"],
                             stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=TEMPORARY, env=ENVIRONMENT)
            for _ in range(2)]
    for process in both:
        process.stdin.write(listed(names).encode())
        process.stdin.close()
        process.stdin = None
    said = [process.communicate()[1].splitlines()[-1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sorted(paths_of("share/r.json")) == sorted(names), said
    assert sorted(os.listdir(path("share"))) == sorted(["r.json", *(f"v{i}.{e}" for i in range(10) for e in ("mp4", "npz"))])


def a_killed_batch_is_completed():
    skip_when_sanitized(SPATRACK)
    names = videos("kill", 16, 6)
    expected = {i: single(names[i]) for i in range(3)}
    chance = random.Random(5)
    how = [SPATRACK, "--list", "kill/list.txt", "--skip-done", "-o", "kill/out/", "--report", "kill/r.json", *FAST]
    write("kill/list.txt", listed(names))
    seen = {}
    for kill in range(20):
        process = subprocess.Popen([*how, "--jobs", str(1 + kill % 2)], stderr=subprocess.DEVNULL, cwd=TEMPORARY,
                                   env=ENVIRONMENT, start_new_session=True)
        time.sleep(chance.uniform(0.01, 0.3))
        if kill % 3:
            process.kill()  # its workers find out
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for name in os.listdir(path("kill/out")) if os.path.exists(path("kill/out")) else []:
            if not name.startswith("."):
                seen.setdefault(name, os.stat(path("kill/out", name)).st_ino)
    time.sleep(0.3)
    last = good(*how[1:])
    assert "failed" not in summary(last) and "16 videos" in summary(last), last.stderr
    assert sorted(os.listdir(path("kill/out"))) == sorted(f"v{i}.npz" for i in range(16))
    for i in range(16):
        assert read(f"kill/out/v{i}.npz") == expected[i % 3], i
    assert all(os.stat(path("kill/out", name)).st_ino == inode for name, inode in seen.items())
    assert max(collections.Counter(paths_of("kill/r.json")).values()) == 1
    assert "0 done, 16 done before" in summary(good(*how[1:]))


def workers(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return list(map(int, file.read().split()))


def an_interrupted_batch_leaves_nothing():
    names = [shutil.copy(BALL, os.path.join(place(f"stop{i}"), "v.mp4")) for i in range(2)]
    process = subprocess.Popen([SPATRACK, *names, "--jobs", "2", "--iters", "64"], stderr=subprocess.DEVNULL, cwd=TEMPORARY,
                               env=ENVIRONMENT)
    for _ in range(1000):
        if all(os.path.exists(path(f"stop{i}/.v.npz.lock")) for i in range(2)):
            break
        time.sleep(0.01)
    children = workers(process.pid)
    assert len(children) == 2
    process.terminate()
    assert process.wait() == 130
    assert not any(os.path.exists(f"/proc/{child}") for child in children)
    assert os.listdir(path("stop0")) == os.listdir(path("stop1")) == ["v.mp4"]


def a_worker_that_dies_costs_its_video_alone():
    names = videos("die", 3)
    shutil.copy(BALL, path(names[0]))
    process = subprocess.Popen([SPATRACK, *names, "--jobs", "1", "--vo-points", "300", "-o", "die/out/"],
                               stderr=subprocess.PIPE, cwd=TEMPORARY, env=ENVIRONMENT)
    for _ in range(1000):
        if os.path.exists(path("die/out/.v0.npz.lock")):
            break
        time.sleep(0.01)
    os.kill(workers(process.pid)[0], signal.SIGKILL)
    stderr = process.communicate()[1].decode()
    assert process.returncode == 1 and "v0.mp4: the process that did it was killed by signal 9" in stderr, stderr
    assert sorted(os.listdir(path("die/out"))) == ["v1.npz", "v2.npz"], stderr


def shards_share_the_videos_out():
    skip_when_sanitized(SPATRACK)
    names = videos("shard", 8)

    def shard(name, count):
        value = 0xcbf29ce484222325
        for byte in name.encode():
            value = (value ^ byte) * 0x100000001b3 % 2**64
        return value % count + 1

    for part in range(1, 4):
        done = run_list(listed(names), *FAST, "--shard", f"{part}/3", "--report", f"shard/{part}.json")
        assert done.returncode == 0, done.stderr
        expected = sorted(name for name in names if shard(name, 3) == part)
        assert expected and sorted(paths_of(f"shard/{part}.json")) == expected
    assert len([name for name in os.listdir(path("shard")) if name.endswith(".npz")]) == 8


# Side by side ------------------------------------------------------------------------------------

def thirty_clips_take_the_memory_of_ten():
    skip_when_sanitized(SPATRACK)
    names = videos("thirty", 30)
    expected = {i: single(names[i]) for i in range(3)}
    for jobs in (1, 2):
        good(*names, "-q", *FAST, "--jobs", jobs, "-o", f"thirty/{jobs}/", "--report", f"thirty/{jobs}.json")
        for i in range(30):
            assert read(f"thirty/{jobs}/v{i}.npz") == expected[i % 3], (jobs, i)
    lines = lines_of("thirty/1.json")
    assert [line["input"]["path"] for line in lines] == names
    peaks = [line["peak_rss_bytes"] for line in lines]
    assert peaks[-1] <= 1.02 * peaks[9], [peak >> 20 for peak in peaks]
    assert {line["threads"] for line in lines_of("thirty/2.json")} == {max(1, len(os.sched_getaffinity(0)) // 2)}


def what_does_not_fit_beside_another_runs_alone():
    names = videos("fit", 4)
    plan = json.loads(good(names[0], *FAST, "--plan", "--json", "--threads", 1).stdout)
    need = max(stage["peak_device_bytes"] for stage in plan["stages"])
    done = good(*names, *FAST, "--jobs", 2, "--threads", 2, "--vram-budget", int(1.5 * need), "--report", "fit/r.json")
    assert "4 videos: 4 done" in summary(done), done.stderr
    assert {line["threads"] for line in lines_of("fit/r.json")} == {2}  # those of all jobs
    done = run(*names, "-q", *FAST, "--jobs", 2, "--vram-budget", need // 4)
    assert done.returncode == 1 and "4 of 4 videos failed" in done.stderr and "--vram-budget" in done.stderr, done.stderr
    good(*names, *FAST, "--jobs", 2, "--threads", 2, "--report", "fit/two.json")
    assert {line["threads"] for line in lines_of("fit/two.json")} == {1}


def lines_of_several_stay_whole():
    names = videos("whole", 6)
    done = good(*names, *FAST, "--jobs", 3, "--progress", "json")
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert {event["video"] for event in events if event["event"] == "end"} == set(names)
    assert "6 videos: 6 done" in events[-1]["text"] and "video" not in events[-1]


# What others start -------------------------------------------------------------------------------

def example(piece):
    """The example of the README that holds this."""
    text = read(os.path.join(ROOT, "README.md")).decode()
    return next(block.split("\n", 1)[1] for block in text.split("```")[1::2] if piece in block)


def start(folder, command):
    """What runs the command on four clips of a folder, where the program is found by its name."""
    videos(f"{folder}/clips", 4)
    write(f"{folder}/videos.txt", listed([f"clips/v{i}.mp4" for i in range(4)]))
    place(f"{folder}/bin")
    write(f"{folder}/bin/spatrack", f"#!/bin/sh\nexec {SPATRACK} {' '.join(FAST)} \"$@\"\n")
    os.chmod(path(f"{folder}/bin/spatrack"), 0o755)
    environment = {**ENVIRONMENT, "PATH": path(f"{folder}/bin") + ":" + ENVIRONMENT["PATH"]}
    return lambda: subprocess.run(command, cwd=path(folder), env=environment, check=True, capture_output=True)


def all_are_there(folder):
    assert sorted(os.listdir(path(folder, "tracks"))) == [f"v{i}.npz" for i in range(4)]
    for i in range(4):
        assert read(f"{folder}/tracks/v{i}.npz") == single(f"{folder}/clips/v{i}.mp4")


def the_example_of_a_list_works():
    skip_when_sanitized(SPATRACK)
    start("byfind", ["sh", "-c", example("--report runs.jsonl")])()
    all_are_there("byfind")
    assert len(lines_of("byfind/runs.jsonl")) == 4


def the_example_of_xargs_works():
    skip_when_sanitized(SPATRACK)
    start("byxargs", ["sh", "-c", example("xargs -0 -P")])()
    all_are_there("byxargs")


def the_example_of_parallel_works():
    skip_when_sanitized(SPATRACK)
    if not shutil.which("parallel"):
        raise Skip("there is no parallel")
    start("byparallel", ["sh", "-c", example("parallel -j")])()
    all_are_there("byparallel")


def the_example_of_make_works():
    skip_when_sanitized(SPATRACK)
    if not shutil.which("make"):
        raise Skip("there is no make")
    make = start("bymake", ["make", "-j", "2"])
    write("bymake/Makefile", example("patsubst"))
    make()
    all_are_there("bymake")
    assert b"Nothing to be done" in make().stdout


def the_script_for_slurm_goes_on_where_it_was():
    """As Slurm would start its tasks: by their variables."""
    script = ["sh", "-c", example("#SBATCH")]
    start("byslurm", script)
    for task in (1, 2, 3, 4):
        how = {"cwd": path("byslurm"), "stderr": subprocess.DEVNULL,
               "env": {**ENVIRONMENT, "PATH": path("byslurm/bin") + ":" + ENVIRONMENT["PATH"],
                       "SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_CPUS_PER_TASK": "1"}}
        killed = subprocess.Popen(script, start_new_session=True, **how)
        time.sleep(0.1 * task)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
        subprocess.run(script, check=True, **how)
    all_are_there("byslurm")


def bad_requests_are_refused():
    for shard in ("0/2", "3/2", "1", "1/0", "a/b", "1/2x"):
        refused(2, "--shard takes I/N", BALL, "--shard", shard)
    refused(2, "-0 says how", BALL, "-0")
    refused(3, "none.txt", "--list", "none.txt")
    refused(2, "--overlay works with a single video", "--list", "-", "--overlay", "x.mp4")
    refused(2, "-o takes a folder", "--list", "-", "-o", "x.npz")
    refused(2, "only a single video can come from standard input", "-", "--list", "-", "-o", "x/")
    refused(2, "--plan", BALL, "--plan", "--skip-done")
    refused(2, "--jobs takes", BALL, "--jobs", 0)
    assert "0 videos: 0 done" in summary(good("--list", "-"))


finish([a_list_is_read_as_it_comes, a_line_says_where_its_result_goes, a_folder_of_videos_is_its_videos,
        one_bad_video_does_not_stop_the_others, no_file_of_a_list_is_lost, finished_results_are_left_alone,
        a_lock_keeps_another_process_away, a_file_with_the_name_of_a_lock_stays, two_processes_do_each_video_once, a_killed_batch_is_completed,
        an_interrupted_batch_leaves_nothing, a_worker_that_dies_costs_its_video_alone, shards_share_the_videos_out,
        thirty_clips_take_the_memory_of_ten, what_does_not_fit_beside_another_runs_alone, lines_of_several_stay_whole,
        the_example_of_a_list_works, the_example_of_xargs_works, the_example_of_parallel_works, the_example_of_make_works,
        the_script_for_slurm_goes_on_where_it_was, bad_requests_are_refused])
