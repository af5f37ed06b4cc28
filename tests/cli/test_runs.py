#!/usr/bin/env python3
"""How the real program is asked, and how its runs end: signals, a full disk, too little memory. Prints TAP."""
import os
import re
import resource
import shutil
import signal
import subprocess
import time

from arrays import read_npz
from program import (BALL, ENVIRONMENT, FAST, ROOT, SPATRACK, TEMPORARY, built_in, finish, good, limited, place,
                     read, refused, report_of, run, write)
from tap import Skip, is_sanitized


def help_and_man_page_agree():
    text = good("--help").stdout
    flags = re.findall(r"^ +(?:-[a-z0-9], )?--([a-z][a-z0-9-]*)", text, re.M)
    man = read(os.path.join(ROOT, "man/spatrack.1")).decode()
    page = re.findall(r"^\.It.*?Fl -([a-z][a-z0-9-]*)", man, re.M)
    letters = set(re.findall(r"^ +(-[a-z0-9]), --", text, re.M))
    page_letters = set(re.findall(r"^\.It Fl ([a-z0-9]) ", man, re.M))
    assert flags == page, set(flags) ^ set(page) or "another order"
    assert max(map(len, text.splitlines())) <= 100
    assert letters == {"-" + letter for letter in page_letters}
    table = read(os.path.join(ROOT, "src/cli/options.c")).decode()
    assert len(flags) == len(re.findall(r"^    \{(?!HEADING)[A-Z]+, \"", table, re.M))


def version_is_told():
    assert good("--version").stdout.startswith("spatrack 0.")


def quiet_and_verbose_differ():
    folder = place("quiet")
    done = good(BALL, "-q", "-o", os.path.join(folder, "t.npz"), *FAST)
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and "21 frames left out" in lines[0], lines  # a warning
    done = good(BALL, "-q", "-o", os.path.join(folder, "t.npz"), *FAST, "--max-frames", 24, "--stride", 8)
    assert done.stderr == "", done.stderr
    done = good(BALL, "-v", "-o", os.path.join(folder, "t.npz"), *FAST)
    assert "tracker: " in done.stderr and "\033" not in done.stderr and "\r" not in done.stderr


def the_reported_peak_is_the_runs_own():
    """Not that of the larger process that started it."""
    report, ballast = os.path.join(place("peak"), "r.json"), b"x" * (1 << 29)
    good(BALL, "-q", "-o", os.path.join(TEMPORARY, "peak/t.npz"), *FAST, "--report", report)
    peak = report_of(report)["peak_rss_bytes"]
    assert 0 < peak < len(ballast), peak


def weights_are_found_where_they_are():
    folder, out = place("weights"), os.path.join(TEMPORARY, "weights.npz")
    for model in ("front", "offline"):
        built_in(folder, model)
    done = good(BALL, "-v", "-o", out, "--weights", folder, *FAST)
    assert "lite weights" not in done.stderr and "(--weights)" in done.stderr
    done = good(BALL, "-v", "-o", out, *FAST, env={**ENVIRONMENT, "SPATRACK_WEIGHTS": folder})
    assert "($SPATRACK_WEIGHTS)" in done.stderr
    home = place("data/spatrack")
    os.symlink(folder, os.path.join(home, "weights"))
    done = good(BALL, "-v", "-o", out, *FAST,
                env={**ENVIRONMENT, "XDG_DATA_HOME": os.path.dirname(home)})
    assert "($XDG_DATA_HOME)" in done.stderr


def an_old_result_is_replaced_whole():
    out = write(os.path.join(place("replace"), "t.npz"), "old")
    good(BALL, "-o", out, *FAST)
    assert "coords" in read_npz(out)
    assert os.listdir(os.path.dirname(out)) == ["t.npz"]


def no_clobber_refuses_first():
    out = write(os.path.join(place("clobber"), "t.npz"), "old")
    done = run("/none.mp4", "-n", "-o", out)
    assert done.returncode == 7 and "exists" in done.stderr and read(out) == b"old"


def results_of_two_runs_at_once_are_whole():
    out = os.path.join(place("two"), "t.npz")
    runs = [subprocess.Popen([SPATRACK, BALL, "-o", out, *FAST, "--seed", str(seed)],
                             env=ENVIRONMENT, stderr=subprocess.DEVNULL) for seed in range(2)]
    assert [r.wait() for r in runs] == [0, 0]
    assert "coords" in read_npz(out) and os.listdir(os.path.dirname(out)) == ["t.npz"]


def start_long_run(folder):
    """A run that is in the middle of its tracker."""
    process = subprocess.Popen([SPATRACK, BALL, "-o", os.path.join(folder, "t.npz"), "-v",
                                "--iters", "64", "--vo-points", "3000"], env=ENVIRONMENT,
                               stderr=subprocess.PIPE)
    for line in process.stderr:
        if b"front: " in line:
            break
    time.sleep(0.5)
    assert process.poll() is None
    return process


def signals_stop_and_leave_nothing():
    for number in (signal.SIGINT, signal.SIGTERM):
        folder = place(f"signal{int(number)}")
        write(os.path.join(folder, "t.npz"), "old")
        process = start_long_run(folder)
        process.send_signal(number)
        assert process.wait(timeout=10) == 130
        process.stderr.close()
        assert os.listdir(folder) == ["t.npz"] and read(os.path.join(folder, "t.npz")) == b"old"


def a_killed_run_keeps_the_old_result():
    folder = place("kill")
    write(os.path.join(folder, "t.npz"), "old")
    process = start_long_run(folder)
    process.kill()
    process.wait()
    process.stderr.close()
    left = sorted(os.listdir(folder))
    assert all(name.startswith(".t.npz.") and name.endswith(".tmp") for name in left[:-1]), left
    assert left[-1] == "t.npz" and read(os.path.join(folder, "t.npz")) == b"old"


def a_full_disk_keeps_the_old_result():
    old = write(os.path.join(place("full"), "t.npz"), "old")
    refused(7, "t.npz", BALL, *FAST, "-o", old, preexec_fn=limited(resource.RLIMIT_FSIZE, 100000))


def a_folder_without_permission_is_named():
    folder = place("locked")
    os.chmod(folder, 0o555)
    os.chmod(TEMPORARY, 0o755)

    def nobody():
        if os.geteuid() == 0:
            os.setuid(65534)
    # The tree may lie where nobody else gets to.
    program, video = (shutil.copy(path, TEMPORARY) for path in (SPATRACK, BALL))
    done = run(video, *FAST, "-o", os.path.join(folder, "t.npz"), executable=program, preexec_fn=nobody)
    os.remove(program)
    os.remove(video)
    assert done.returncode == 7 and "locked: Permission denied" in done.stderr, done.stderr
    assert os.listdir(folder) == []


def too_little_memory_is_told_first():
    if is_sanitized(SPATRACK):
        raise Skip("AddressSanitizer reserves all addresses")
    out = ["-o", os.path.join(place("memory"), "t.npz")]
    points = ["--vo-points", 20000, "--threads", 1]

    def with_space(megabytes):
        return {"preexec_fn": limited(resource.RLIMIT_AS, int(megabytes * 2 ** 20)),
                "env": ENVIRONMENT | {"MALLOC_ARENA_MAX": "1"}}

    def lacking(megabytes, frames):
        line = refused(5, "are available", BALL, *out, *points, "--max-frames", frames, **with_space(megabytes))
        needed, available = map(float, re.search(r"need ([\d.]+) MB, ([\d.]+) MB are", line).groups())
        return needed - available

    # What the libraries take differs, so it is measured: more than 12 frames need, and less than all 24.
    enough = with_space(600 + (lacking(600, 12) + lacking(600, 24)) / 2)
    line = refused(5, "use --max-frames", BALL, *out, *points, **enough)
    assert 12 <= int(re.search(r"--max-frames (\d+)", line).group(1)) < 24, line
    refused(5, "use fewer with --threads", BALL, *out, "--threads", 256, **enough)


def a_control_group(name):
    """A group of this process's own for children, as batch systems and containers make: its folder, the name of its limit."""
    with open("/proc/self/cgroup") as file:
        own = {controllers: at for _, controllers, at in (line.rstrip("\n").split(":", 2) for line in file)}
    for controllers, mount, limit in (("memory", "/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
                                      ("", "/sys/fs/cgroup", "memory.max")):
        group = os.path.join(mount + own.get(controllers, "/nowhere"), f"{name}-{os.getpid()}")
        try:
            os.mkdir(group)
        except OSError:
            continue
        if os.path.exists(os.path.join(group, limit)):
            return group, limit
        os.rmdir(group)
    raise Skip("no control group with a limit can be made here")


def the_limit_of_a_control_group_counts():
    if is_sanitized(SPATRACK):
        raise Skip("AddressSanitizer takes more")
    group, limit = a_control_group("spatrack-test")
    try:
        with open(os.path.join(group, limit), "w") as file:
            file.write(str(250 << 20))

        def enter():
            with open(os.path.join(group, "cgroup.procs"), "w") as file:
                file.write(str(os.getpid()))
        out = os.path.join(place("group"), "t.npz")
        how = {"preexec_fn": enter, "env": ENVIRONMENT | {"MALLOC_PERTURB_": "0"}}  # meson's fills what is only reserved
        refused(5, "MB are available", BALL, "-o", out, "--vo-points", 20000, "--threads", 1, **how)
        good(BALL, "-q", "-o", out, *FAST, **how)
    finally:
        os.rmdir(group)


finish([help_and_man_page_agree, version_is_told, quiet_and_verbose_differ, the_reported_peak_is_the_runs_own,
        weights_are_found_where_they_are, an_old_result_is_replaced_whole, no_clobber_refuses_first,
        results_of_two_runs_at_once_are_whole, signals_stop_and_leave_nothing,
        a_killed_run_keeps_the_old_result, a_full_disk_keeps_the_old_result,
        a_folder_without_permission_is_named, too_little_memory_is_told_first,
        the_limit_of_a_control_group_counts])
