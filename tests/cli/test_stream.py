#!/usr/bin/env python3
"""Long clips, whose frames come and go, with the real program. Prints TAP."""
import os
import re
import resource
import signal
import subprocess
import time

from arrays import read_npz
from program import (BALL, SPATRACK, finish, good, limited, path, place, read, refused, report_of, run, test_clip,
                     write)
from tap import skip_when_sanitized

CHUNKS = ["--front-chunk", 8, "--front-overlap", 3, "--vo-points", 20, "--iters", 1]
GRID = ["--grid", 2]
QUERIES = "t,x,y\n0,200,150\n12,220,160\n23,100,100\n5,300,200\n"


def both(name, *flags, video=BALL, endings=("npz",)):
    """The same run twice: streaming, and, because cameras for Nuke are written from all frames, in memory."""
    place(name)
    for way, more in (("stream", []), ("memory", ["--cameras", path(f"{name}/c.chan")])):
        outputs = [path(f"{name}/{way}.{ending}") for ending in endings]
        good(video, *CHUNKS, *flags, "-q", "-o", outputs[0], *sum((["--overlay", o] for o in outputs[1:]), []), *more)
    return [[read(f"{name}/{way}.{ending}") for ending in endings] for way in ("stream", "memory")]


def same(name, *flags, **more):
    stream, memory = both(name, *flags, **more)
    assert stream == memory, (name, [len(data) for data in stream + memory])


def bytes_are_those_of_a_run_in_memory():
    queries = write("q.csv", QUERIES)
    for mode in ("online", "offline"):
        same(f"grid-{mode}", "--mode", mode, *GRID, endings=("npz", "mp4"))
        same(f"queries-{mode}", "--mode", mode, "--queries", queries, "--no-compress")
    same("front", "--stop-after", "front")
    same("scaled", *GRID, "--mode", "online", "--scale-to", 3, "--fov", 50, "--omit", "video,depths")
    same("plain", *GRID, "--mode", "online", "--refine", "off", "--fixed-camera", "--stride", 2)


def prompts_may_lie_in_a_later_frame():
    same("prompt", *GRID, "--mode", "online", "--point", "240,180", "--prompt-frame", 15, "--sam", "lite", endings=("npz", "mp4"))


def lines_come_in_the_order_of_time():
    stream, memory = both("csv", *GRID, "--mode", "online", endings=("csv",))
    stream, memory = stream[0].splitlines(), memory[0].splitlines()
    assert stream != memory and stream[0] == memory[0] and sorted(stream) == sorted(memory)
    frames = [int(line.split(b",")[1]) for line in stream[1:]]
    assert frames == sorted(frames) and frames[-1] == 23


def all_frames_are_used():
    clip = test_clip("all.mp4", "64x48", 90)
    done = good(clip, "--max-frames", 0, *CHUNKS, *GRID, "-o", path("all.npz"))
    assert "left out" not in done.stderr, done.stderr
    found = read_npz(path("all.npz"))
    assert found["coords"].shape[0] == found["depths"].shape[0] == found["timestamps"].shape[0] == 90
    assert found["frame_index"].values == tuple(range(90))


def memory_does_not_grow_with_the_clip():
    skip_when_sanitized(SPATRACK)
    clip, peaks = test_clip("grow.mp4", "128x96", 240), []
    for frames in (40, 80, 240):
        good(clip, "--max-frames", frames, *CHUNKS, *GRID, "--mode", "online", "-o", path("grow.npz"), "--report", path("grow.json"),
             "--omit", "video,depths")
        peaks.append(report_of("grow.json")["peak_rss_bytes"])
    assert peaks[2] < 1.03 * peaks[1] < 1.06 * peaks[0], peaks


def the_plan_is_that_of_a_short_clip():
    clip, plans = test_clip("grow.mp4", "128x96", 240), []
    for flags in (["--max-frames", 100], ["--max-frames", 0]):
        text = good(clip, *CHUNKS, *GRID, "--mode", "online", "--plan", *flags).stdout
        plans.append(re.sub(r"about$|[\d.:]+ (s|min|h)$|\d+ (frames of|chunks)", "", text, flags=re.M))
    assert "240 frames" in text and "fits: 10000 or more" in text, text
    assert [re.findall(r"[\d.]+ MB", plan)[3:] for plan in plans][0] == re.findall(r"[\d.]+ MB", plans[1])[3:], plans


def a_pipe_streams_as_far_as_it_is_read_once():
    place("pipe")
    for name, more in (("stream", []), ("memory", ["--cameras", path("pipe/c.chan")])):
        with open(BALL, "rb") as video, subprocess.Popen(["cat"], stdin=video, stdout=subprocess.PIPE) as cat:
            good("-", *CHUNKS, *GRID, "--mode", "online", "-o", path(f"pipe/{name}.npz"), *more, stdin=cat.stdout)
    assert read("pipe/stream.npz") == read("pipe/memory.npz")


def what_the_container_says_is_not_trusted():
    """Of a clip that is cut off: a warning, and queries that are behind its end keep their rows."""
    place("cut")
    whole = read(test_clip("fast.mp4", "96x72", 60, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags",
                           "+faststart"))
    clip = write("cut/cut.mp4", whole[:int(len(whole) * 0.6)])
    queries = write("cut/q.csv", "0,20,20\n58,30,30\n")
    done = good(clip, *CHUNKS, "--mode", "online", "-o", path("cut/t.npz"), "--queries", queries)
    assert re.search(r"only \d+ of 60 frames can be read", done.stderr), done.stderr
    assert "1 queries lie behind the last frame" in done.stderr, done.stderr
    found = read_npz(path("cut/t.npz"))
    assert 8 < found["coords"].shape[0] < 60 and found["coords"].shape[1] == 2
    refused(2, "q.csv:2: t is 60", clip, *CHUNKS, "--mode", "online", "-o", path("cut/no.npz"), "--queries",
            write("cut/q.csv", "0,20,20\n60,30,30\n"))


def failures_leave_nothing():
    skip_when_sanitized(SPATRACK)
    place("failed")
    old = write("failed/t.npz", "an old result")
    clip = test_clip("grow.mp4", "128x96", 240)
    flags = [clip, *CHUNKS, *GRID, "--mode", "online", "--max-frames", 0, "-o", old]
    done = run(*flags, preexec_fn=limited(resource.RLIMIT_FSIZE, 200000))
    assert done.returncode == 7 and done.stderr.count("\n") <= 4, done
    with subprocess.Popen([SPATRACK, *map(str, flags)], stderr=subprocess.DEVNULL) as process:
        time.sleep(1)
        process.send_signal(signal.SIGKILL)
    assert all(name == "t.npz" or name.startswith(".t.npz.") for name in os.listdir(path("failed")))
    assert read("failed/t.npz") == b"an old result"


finish([bytes_are_those_of_a_run_in_memory, prompts_may_lie_in_a_later_frame, lines_come_in_the_order_of_time,
        all_frames_are_used, memory_does_not_grow_with_the_clip, the_plan_is_that_of_a_short_clip,
        a_pipe_streams_as_far_as_it_is_read_once, what_the_container_says_is_not_trusted, failures_leave_nothing], [])
