#!/usr/bin/env python3
"""The process the real program finds itself in: closed descriptors, little address space, signals. Prints TAP."""
import os
import re
import resource
import signal
import subprocess
import time

from arrays import read_npz
from program import (BALL, ENVIRONMENT, FAST, SPATRACK, finish, limited, place, read, refused, run, tool,
                     write)
from tap import Skip, is_sanitized

MEGABYTE = 1 << 20
ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGXCPU, signal.SIGUSR1,
          signal.SIGUSR2, signal.SIGALRM)


# Descriptors 0 to 2 ------------------------------------------------------------------------------

def run_closed(descriptors, *arguments):
    """Through a shell, which closes what Popen has opened."""
    script = "; ".join(f"exec {d}>&-" for d in descriptors) + '; exec "$0" "$@"'
    return subprocess.run(["sh", "-c", script, SPATRACK, *map(str, arguments)], capture_output=True,
                          encoding="utf-8", env=ENVIRONMENT, stdin=subprocess.DEVNULL, timeout=600)


def no_output_takes_the_place_of_a_closed_stream():
    for descriptors in ((0,), (1,), (2,), (1, 2), (0, 1, 2)):
        folder = place("closed" + "".join(map(str, descriptors)))
        out, report, overlay = (os.path.join(folder, name) for name in ("t.npz", "r.json", "o.mp4"))
        done = run_closed(descriptors, BALL, "-v", "-o", out, "--report", report, "--overlay", overlay, *FAST)
        assert done.returncode == 0, (descriptors, done)
        assert "coords" in read_npz(out) and read(report).startswith(b"{")
        assert b"spatrack:" not in read(overlay) and b"tracker: " not in read(overlay)
        assert sorted(os.listdir(folder)) == ["o.mp4", "r.json", "t.npz"]
        tool("ffmpeg", "-v", "error", "-xerror", "-i", overlay, "-f", "null", "-")


def a_closed_standard_output_is_a_failure():
    for arguments in (["--help"], ["--version"], ["--info"], ["--info", "--json"], [BALL, "-o", "-", *FAST]):
        done = run_closed((1,), *arguments)
        assert done.returncode == 7 and len(done.stderr.splitlines()) < 4, (arguments, done)
        assert "standard output" in done.stderr or "/dev/stdout" in done.stderr, done


def a_closed_standard_input_is_no_video():
    folder = place("no-stdin")
    done = run_closed((0,), "-", "-q", "-o", os.path.join(folder, "t.npz"))
    assert done.returncode == 3 and len(done.stderr.splitlines()) == 1, done
    assert os.listdir(folder) == []


# Address space -----------------------------------------------------------------------------------

def skip_sanitized():
    if is_sanitized(SPATRACK):
        raise Skip("AddressSanitizer reserves all addresses")


def printing_takes_little_address_space():
    skip_sanitized()
    for megabytes in (110, 150, 200, 300):
        how = {"preexec_fn": limited(resource.RLIMIT_AS, megabytes * MEGABYTE)}
        for arguments in (["--help"], ["--version"], ["--info"], ["--info", "--json"]):
            done = run(*arguments, **how)
            assert done.returncode == 0 and done.stdout, (megabytes, arguments, done)
        assert run("--frobnicate", **how).returncode == 2
        assert run("none.mp4", **how).returncode == 3


def one_thread_is_one():
    with subprocess.Popen([SPATRACK, "-", "-o", os.path.join(place("wait"), "t.npz"), "--threads", "1"],
                          env=ENVIRONMENT, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        time.sleep(1)
        count = len(os.listdir(f"/proc/{process.pid}/task"))
        process.stdin.close()
    assert count == 1 or is_sanitized(SPATRACK), count


def too_little_address_space_is_one_line():
    skip_sanitized()
    out = os.path.join(place("limited"), "t.npz")
    for threads, limits in ((1, (120, 200, 260, 330)), (2, (120, 250, 350, 430)), (8, (250, 900, 1290, 1340))):
        for megabytes in limits:
            done = run("-q", BALL, "-o", out, *FAST, "--stride", 8, "--threads", threads,  # which leaves no frame out
                       preexec_fn=limited(resource.RLIMIT_AS, megabytes * MEGABYTE))
            lines = done.stderr.splitlines()
            assert done.returncode in (0, 5), (threads, megabytes, done)
            assert done.returncode == 0 or (len(lines) == 1 and ("emory" in lines[0] or " MB are" in lines[0])), lines
            assert os.path.exists(out) == (done.returncode == 0)
            if os.path.exists(out):
                os.remove(out)


def data_limits_count_too():
    skip_sanitized()
    folder = place("data-limit")
    for megabytes in (60, 150):
        refused(5, "not enough memory", BALL, "-o", os.path.join(folder, "t.npz"), *FAST, "--threads", 2,
                preexec_fn=limited(resource.RLIMIT_DATA, megabytes * MEGABYTE))


def a_library_that_is_missing_is_named_by_the_loader():
    """A broken libavutil in front of the real one."""
    name = os.path.basename(sorted(re.findall(r"\S*libavutil\.so\.\d+", subprocess.run(
        ["/sbin/ldconfig", "-p"], capture_output=True, encoding="utf-8").stdout) or ["none"])[0])
    if name == "none":
        raise Skip("ldconfig does not know FFmpeg")
    folder = place("broken")
    write(os.path.join(folder, name), "no library")
    for text, message in (("no library", "file too short"), ("x" * 4096, "invalid ELF header")):
        write(os.path.join(folder, name), text)
        line = refused(3, "cannot load FFmpeg", BALL, "-o", os.path.join(folder, "t.npz"),
                       env=ENVIRONMENT | {"LD_LIBRARY_PATH": folder})
        assert message in line and name in line, line


# Signals -----------------------------------------------------------------------------------------

def start_writing(folder, ignored=()):
    """A run that has a temporary file: its result goes to a full pipe after the mask was written."""
    def set_signals():
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
    process = subprocess.Popen([SPATRACK, BALL, "-q", "-o", "-", "--box", "100,100,300,300", "--mask-out",
                                "mask.png", *FAST, "--grid", "20"], env=ENVIRONMENT, cwd=folder, stdout=subprocess.PIPE,
                               preexec_fn=set_signals)
    process.stdout.read(1)  # the pipe holds less than the rest
    assert process.poll() is None and len(os.listdir(folder)) == 1, os.listdir(folder)
    return process


def each_signal_ends_and_leaves_nothing():
    for number in ENDING:
        folder = place(f"ends{int(number)}")
        process = start_writing(folder)
        process.send_signal(number)
        assert process.wait(timeout=20) == 130, number
        process.stdout.close()
        assert os.listdir(folder) == [], number


def ignored_signals_stay_ignored():
    for number in ENDING[:5]:
        folder = place(f"ignores{int(number)}")
        process = start_writing(folder, [number])
        process.send_signal(number)
        process.stdout.read()
        process.stdout.close()
        assert process.wait(timeout=60) == 0, number
        assert os.listdir(folder) == ["mask.png"]


def under_nohup_it_outlives_its_terminal():
    folder = place("nohup")
    process = subprocess.Popen(["nohup", SPATRACK, BALL, "-q", "-o", "t.npz", *FAST], env=ENVIRONMENT,
                               cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    time.sleep(0.3)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=60) == 0 and os.listdir(folder) == ["t.npz"]


def a_limit_of_processor_time_ends_cleanly():
    folder = place("xcpu")
    done = run(BALL, "-q", "-o", os.path.join(folder, "t.npz"), "--iters", 64, "--vo-points", 3000,
               preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (1, 60)))
    assert done.returncode == 130 and os.listdir(folder) == [], done


finish([no_output_takes_the_place_of_a_closed_stream, a_closed_standard_output_is_a_failure,
        a_closed_standard_input_is_no_video, printing_takes_little_address_space, one_thread_is_one,
        too_little_address_space_is_one_line, data_limits_count_too,
        a_library_that_is_missing_is_named_by_the_loader, each_signal_ends_and_leaves_nothing,
        ignored_signals_stay_ignored, under_nohup_it_outlives_its_terminal,
        a_limit_of_processor_time_ends_cleanly])
