#!/usr/bin/env python3
"""Long clips, whose frames come and go, with the real program. Prints TAP."""
import math
import os
import re
import resource
import signal
import subprocess
import time

from arrays import read_npz
from program import (BALL, SPATRACK, clip, finish, good, limited, path, place, read, refused, report_of, run, test_clip,
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
    same("queries", "--mode", "online", "--queries", write("q.csv", QUERIES), endings=("npz", "mp4"))


def other_ways_give_those_bytes_too():
    skip_when_sanitized(SPATRACK)
    same("offline", "--mode", "offline", *GRID, "--no-compress")
    same("front", "--stop-after", "front")
    same("scaled", *GRID, "--mode", "online", "--scale-to", 3, "--fov", 50, "--omit", "video,depths")
    same("plain", *GRID, "--mode", "online", "--refine", "off", "--fixed-camera", "--stride", 2)


def prompts_may_lie_in_a_later_frame():
    skip_when_sanitized(SPATRACK)
    same("prompt", *GRID, "--mode", "online", "--point", "240,180", "--prompt-frame", 15, "--sam", "lite", endings=("npz", "mp4"))


def new_points_start_where_none_is_seen():
    """A clip that pans: every 14 frames points come in from one side. The tracks of the first grid are as without, until
    the first of them is given up; those that come later begin with their frame; every row has its query."""
    pan = clip("pan.mp4", "-f", "lavfi", "-i", "mandelbrot=s=512x64:r=10:start_scale=0.6:end_scale=0.59", "-frames:v", "45",
               "-vf", "crop=192:64:'4*n':0", "-c:v", "libx264", "-pix_fmt", "yuv420p")
    skip_when_sanitized(SPATRACK)  # it has the fault suite's new grids
    place("grids")
    common = [pan, *CHUNKS[:4], "--vo-points", 40, "--iters", 2, "--grid", 4, "--mode", "online", "-q"]
    good(*common, "-o", path("grids/one.npz"))
    good(*common, "--grid-every", 14, "-o", path("grids/t.npz"), "--overlay", path("grids/o.mp4"), "--threads", 1)
    good(*common, "--grid-every", 14, "-o", path("grids/again.npz"), "--threads", 2)
    good(*common, "--grid-every", 14, "-o", path("grids/t.csv"))
    one, more = read_npz(path("grids/one.npz")), read_npz(path("grids/t.npz"))
    frames, count, _ = more["coords"].shape
    begin = [int(t) for t in more["queries"].values[::3]]
    assert frames == 45 and count > 20 and begin[:16] == [0] * 16 and set(begin) <= {0, 14, 28, 42}, begin
    assert begin == sorted(begin) and len(set(begin)) > 2, begin
    visible = [more["visibs"].values[t * count:(t + 1) * count] for t in range(frames)]
    for n, first in enumerate(begin):
        assert all(visible[t][n] == 0 for t in range(first)) and visible[first][n] > 0.5, (n, first)
        assert all(math.isnan(more["sigma"].values[t * count + n]) for t in range(first)), n
    assert [visible[t][n] for t in range(14) for n in range(16)] == list(one["visibs"].values[:14 * 16])
    seen = [sum(v > 0.5 for v in values) for values in (visible[-1], one["visibs"].values[-16:])]
    assert seen[0] > 2 * seen[1], seen
    lines = read("grids/t.csv").decode().splitlines()
    assert {int(line.split(",")[0]) for line in lines[1:]} == set(range(count))
    assert read("grids/again.npz") == read("grids/t.npz")


def bad_cases():
    place("bad")
    common = [BALL, "--mode", "online", "--grid-every", 10, "-o", path("bad/t.npz")]
    yield "new grids offline", [BALL, "--grid-every", 10, "-o", path("bad/t.npz")], 2, "--grid-every goes with --mode online"
    yield "new grids and queries", [*common, "--queries", "q.csv"], 2, "leave out --queries"
    yield "new grids on an object", [*common, "--point", "1,1"], 2, "leave out --point and --box"
    yield "new grids and a scene", [*common, "--usd", path("bad/s.usda")], 2, "write the rest from the finished result"
    yield "new grids and a sheet", [*common, "--overlay", path("bad/s.png")], 2, "write the rest from the finished result"
    yield "new grids and all at once", [*common, "--front-chunk", 0], 2, "leave out --front-chunk 0"


def lines_come_in_the_order_of_time():
    skip_when_sanitized(SPATRACK)
    stream, memory = both("csv", *GRID, "--mode", "online", endings=("csv",))
    stream, memory = stream[0].splitlines(), memory[0].splitlines()
    assert stream != memory and stream[0] == memory[0] and sorted(stream) == sorted(memory)
    frames = [int(line.split(b",")[1]) for line in stream[1:]]
    assert frames == sorted(frames) and frames[-1] == 23


def all_frames_are_used():
    skip_when_sanitized(SPATRACK)
    long = test_clip("all.mp4", "96x32", 90)
    done = good(long, "--max-frames", 0, *CHUNKS, *GRID, "-o", path("all.npz"))
    assert "left out" not in done.stderr, done.stderr
    found = read_npz(path("all.npz"))
    assert found["coords"].shape[0] == found["depths"].shape[0] == found["timestamps"].shape[0] == 90
    assert found["frame_index"].values == tuple(range(90))


def memory_does_not_grow_with_the_clip():
    skip_when_sanitized(SPATRACK)
    video, peaks = test_clip("grow.mp4", "128x96", 240), []
    for frames in (80, 200):
        good(video, "--max-frames", frames, *CHUNKS, *GRID, "--mode", "online", "-o", path("grow.npz"), "--report", path("grow.json"),
             "--omit", "video,depths")
        peaks.append(report_of("grow.json")["peak_rss_bytes"])
    assert peaks[1] < 1.02 * peaks[0], peaks


def the_plan_is_that_of_a_short_clip():
    video, plans = test_clip("grow.mp4", "128x96", 240), []
    for flags in (["--max-frames", 100], ["--max-frames", 0]):
        text = good(video, *CHUNKS, *GRID, "--mode", "online", "--plan", *flags).stdout
        plans.append(re.sub(r"about$|[\d.:]+ (s|min|h)$|\d+ (frames of|chunks)", "", text, flags=re.M))
    assert "240 frames" in text and "fits: 10000 or more" in text, text
    assert [re.findall(r"[\d.]+ MB", plan)[3:] for plan in plans][0] == re.findall(r"[\d.]+ MB", plans[1])[3:], plans


def a_pipe_streams_as_far_as_it_is_read_once():
    skip_when_sanitized(SPATRACK)
    place("pipe")
    for name, more in (("stream", []), ("memory", ["--cameras", path("pipe/c.chan")])):
        with open(BALL, "rb") as video, subprocess.Popen(["cat"], stdin=video, stdout=subprocess.PIPE) as cat:
            good("-", *CHUNKS, *GRID, "--mode", "online", "-o", path(f"pipe/{name}.npz"), *more, stdin=cat.stdout)
    assert read("pipe/stream.npz") == read("pipe/memory.npz")


def what_the_container_says_is_not_trusted():
    """Of a clip that is cut off: a warning, and queries that are behind its end keep their rows."""
    place("cut")
    whole = read(test_clip("fast.mp4", "96x32", 60, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-movflags",
                           "+faststart"))
    damaged = write("cut/cut.mp4", whole[:int(len(whole) * 0.6)])
    queries = write("cut/q.csv", "0,20,20\n58,30,30\n")
    done = good(damaged, *CHUNKS, "--mode", "online", "-o", path("cut/t.npz"), "--queries", queries)
    assert re.search(r"only \d+ of 60 frames can be read", done.stderr), done.stderr
    assert "1 queries lie behind the last frame" in done.stderr, done.stderr
    found = read_npz(path("cut/t.npz"))
    assert 8 < found["coords"].shape[0] < 60 and found["coords"].shape[1] == 2
    refused(2, "q.csv:2: t is 60", damaged, *CHUNKS, "--mode", "online", "-o", path("cut/no.npz"), "--queries",
            write("cut/q.csv", "0,20,20\n60,30,30\n"))


def failures_leave_nothing():
    skip_when_sanitized(SPATRACK)
    place("failed")
    old = write("failed/t.npz", "an old result")
    video = test_clip("grow.mp4", "128x96", 240)
    flags = [video, *CHUNKS, *GRID, "--mode", "online", "--max-frames", 0, "-o", old]
    done = run(*flags, preexec_fn=limited(resource.RLIMIT_FSIZE, 200000))
    assert done.returncode == 7 and done.stderr.splitlines()[-1].endswith("File too large"), done
    with subprocess.Popen([SPATRACK, *map(str, flags)], stderr=subprocess.DEVNULL) as process:
        time.sleep(1)
        process.send_signal(signal.SIGKILL)
    assert all(name == "t.npz" or name.startswith(".t.npz.") for name in os.listdir(path("failed")))
    assert read("failed/t.npz") == b"an old result"


finish([bytes_are_those_of_a_run_in_memory, other_ways_give_those_bytes_too, prompts_may_lie_in_a_later_frame, lines_come_in_the_order_of_time,
        all_frames_are_used, memory_does_not_grow_with_the_clip, the_plan_is_that_of_a_short_clip,
        new_points_start_where_none_is_seen, a_pipe_streams_as_far_as_it_is_read_once, what_the_container_says_is_not_trusted, failures_leave_nothing], bad_cases())
