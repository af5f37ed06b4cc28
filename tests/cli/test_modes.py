#!/usr/bin/env python3
"""The online mode of the real program, beside the offline one. Prints TAP."""
import json
import os

from arrays import read_npz
from program import (BALL, FAST, SPATRACK, TEMPORARY, built_in, clip, finish, geometry, good, place, report_of,
                     run, test_clip, write)
from tap import skip_when_sanitized


def looped():
    """The ball's 24 frames again and again, 60 in all."""
    return clip("looped.mp4", "-stream_loop", "2", "-i", BALL, "-frames:v", "60", "-c:v", "libx264",
                "-pix_fmt", "yuv420p")


def online_follows_queries_of_any_window():
    """60 frames are four windows; their first frames are 0, 14, 28, 42."""
    folder = place("online")
    rows = ((59, 100, 20), (0, 300, 200), (33, 10, 350), (34, 0, 0), (20, 479, 359), (19, 240, 180))
    queries = write(os.path.join(folder, "q.csv"), "".join(f"{t},{x},{y}\n" for t, x, y in rows))
    out = os.path.join(folder, "t.npz")
    good(looped(), "--mode", "online", "--queries", queries, "-o", out, "--vo-points", 20, "--iters", 1,
         "--geometry", geometry(folder, 60, 3, 4))
    a = read_npz(out)
    assert a["coords"].shape == (60, 6, 3)
    assert a["queries"].values == tuple(v for row in rows for v in row)
    for n, first in enumerate((42, 0, 14, 28, 14, 0)):
        seen = [a["visibs"].values[6 * t + n] for t in range(60)]
        assert [v > 0 for v in seen] == [t >= first for t in range(60)], (n, seen)
    settings = json.loads(a["version"].values)["settings"]
    assert settings["mode"] == "online" and settings["max-frames"] == 300


def online_memory_does_not_grow():
    skip_when_sanitized(SPATRACK)
    folder, peaks = place("online-memory"), []
    for frames in (21, 60):
        report = os.path.join(folder, f"{frames}.json")
        good(looped(), "--mode", "online", "-o", os.path.join(folder, "t.npz"), "--max-frames", frames,
             "--report", report, "--geometry", geometry(folder, frames, 3, 4), *FAST[2:])
        stages = {s["name"]: s for s in report_of(report)["stages"]}
        peaks.append(stages["tracker"]["peak_host_bytes"])
    assert abs(peaks[1] - peaks[0]) <= 0.05 * peaks[0], peaks


def a_short_clip_is_the_same_in_both_modes():
    folder, results = place("short"), []
    for mode in ("offline", "online"):
        out = os.path.join(folder, mode + ".npz")
        good(BALL, "--mode", mode, "-o", out, *FAST)
        results.append({k: v for k, v in read_npz(out).items() if k != "version"})
    assert results[0] == results[1]


def the_mode_says_how_many_frames():
    long = test_clip("long.mp4", "96x72", 305)
    late = write(os.path.join(place("late"), "q.csv"), "302,1,1")
    for mode, limit in (("offline", 80), ("online", 300)):
        done = run(long, "--mode", mode, "-o", "t.csv", "--queries", late)
        left_out = f"{305 - limit} frames left out: used the first {limit} (--max-frames"
        assert done.returncode == 2 and left_out in done.stderr, done.stderr


def online_has_weights_of_its_own():
    folder, out = place("online-weights"), os.path.join(TEMPORARY, "online.npz")
    built_in(folder, "front")
    done = run(BALL, "--mode", "online", "-o", out, "--weights", folder, *FAST)
    assert done.returncode == 4 and "online: no model.safetensors" in done.stderr, done.stderr
    os.rename(os.path.join(built_in(place("offline"), "offline"), "offline"),
              os.path.join(folder, "online"))
    done = good(BALL, "-v", "--mode", "online", "-o", out, "--weights", folder, *FAST)
    assert "weights: " + os.path.join(folder, "online") in done.stderr, done.stderr


finish([online_follows_queries_of_any_window, online_memory_does_not_grow,
        a_short_clip_is_the_same_in_both_modes, the_mode_says_how_many_frames,
        online_has_weights_of_its_own])
