#!/usr/bin/env python3
"""--refine of the real program: what it finds, what it writes, and when it is on. Prints TAP."""
import json
import math
import os
import signal
import statistics
import subprocess

from arrays import read_npz
from program import (BALL, ENVIRONMENT, FAST, ROOT, SPATRACK, built_in, clip, ffmpeg, finish, geometry, good, path,
                     place, read, refused, report_of, run, turned, write)
from tap import complaints, skip_when_sanitized

QUICK = ["--vo-points", "20", "--iters", "1"]


# Clips and what is true of them ------------------------------------------------------------------

def texture():
    """A picture of noise without anything smaller than a few pixels."""
    return clip("texture.png", "-f", "lavfi", "-i", "nullsrc=s=1200x900,geq=lum='random(1)*255':cb=128:cr=128",
                "-frames:v", "1", "-vf", "gblur=sigma=5,eq=contrast=6")


def moving(name, width=320, height=240, frames=8, *more):
    """A view of that picture, whose points move by -1.5, -0.5 pixels a frame; ten frames a second, and no bit
    is lost."""
    view = f"crop={2 * width}:{2 * height}:3*n:n,scale={width}:{height}:flags=area"
    return clip(name, "-loop", "1", "-framerate", "10", "-i", texture(), "-vf", view, "-frames:v", str(frames),
                *(more or ("-c:v", "ffv1", "-pix_fmt", "bgr0")))


def queries_of(name, rows):
    return write(name, "".join(f"{t},{x:.9g},{y:.9g}\n" for t, x, y in rows))


def grid(t, width, height, margin=50, step=30):
    return [(t, x + 0.25, y + 0.5) for y in range(margin, height - margin, step)
            for x in range(margin, width - margin, step)]


def errors(arrays, rows, step=1, of_frame=lambda t: True, motion=(-1.5, -0.5)):
    """How far points that are found are off, in frames but their queries'."""
    tracks, sigma, count = arrays["tracks2d"].values, arrays["sigma"].values, len(rows)
    found = []
    for i in range(len(sigma)):
        t, n = divmod(i, count)
        if t != rows[n][0] and math.isfinite(sigma[i]) and of_frame(t):
            at = [p + step * v * (t - rows[n][0]) for p, v in zip(rows[n][1:], motion)]
            found.append(math.dist(at, tracks[2 * i:2 * i + 2]))
    return found


def expect_found(arrays, rows, share=0.5, **more):
    found = errors(arrays, rows, **more)
    frames = sum(more.get("of_frame", lambda t: True)(t) for t in range(arrays["sigma"].shape[0]))
    assert len(found) > share * (frames - 1) * len(rows), (len(found), frames, len(rows))
    assert statistics.median(found) < 0.06, statistics.median(found)


def arrays_of(name):
    return {key: array for key, array in read_npz(path(name)).items() if key != "version"}


def projected(a):
    """`coords` in pixels of the input, by the lines of src/output/README.md; with each point's depth."""
    frames, count = a["coords"].shape[:2]
    for t in range(frames):
        k, w2c = a["intrinsics_input"].values[9 * t:9 * t + 9], a["extrinsics"].values[16 * t:16 * t + 16]
        for n in range(count):
            point = a["coords"].values[3 * (t * count + n):][:3]
            x, y, z = (sum(w2c[4 * i + j] * point[j] for j in range(3)) + w2c[4 * i + 3] for i in range(3))
            u, v, w = (k[3 * i] * x + k[3 * i + 1] * y + k[3 * i + 2] * z for i in range(3))
            yield t * count + n, (u / w, v / w) if w else None, z


def expect_projected(a):
    """Every visible point lies on its track."""
    checked = 0
    for i, at, z in projected(a):
        if a["visibs"].values[i] > 0.5 and z > 0:
            assert math.dist(at, a["tracks2d"].values[2 * i:2 * i + 2]) < 1e-3, (i, at)
            checked += 1
    assert checked > 0


# What it finds -----------------------------------------------------------------------------------

def tracks_come_nearer_the_truth():
    skip_when_sanitized(SPATRACK)
    truth = read_npz(os.path.join(ROOT, "tests/data/ball.npz"))
    count = truth["queries"].shape[0]
    rows = [truth["queries"].values[3 * n:3 * n + 3] for n in range(count)]
    queries, medians = queries_of("ball.csv", rows), {}
    for refine in ("off", "on"):
        good(BALL, "--queries", queries, "--refine", refine, *QUICK, "-o", "ball.npz")
        a = arrays_of("ball.npz")
        off = [math.dist(a["tracks2d"].values[2 * i:2 * i + 2], truth["tracks"].values[2 * i:2 * i + 2])
               for i, seen in enumerate(truth["visible"].values) if seen and rows[i % count][0] != i // count]
        medians[refine] = statistics.median(off)
    assert medians["on"] < 0.2 and medians["on"] < 0.2 * medians["off"], medians
    expect_projected(a)
    # Errors are what sigma says of them, within a factor.
    ratios = [math.dist(a["tracks2d"].values[2 * i:2 * i + 2], truth["tracks"].values[2 * i:2 * i + 2]) / sigma
              for i, sigma in enumerate(a["sigma"].values) if sigma > 0 and truth["visible"].values[i]]
    assert 0.2 < statistics.median(ratios) < 3, statistics.median(ratios)


def sigma_tells_what_is_found():
    skip_when_sanitized(SPATRACK)
    rows = [(0, 100, 100), (2, 200.5, 120.25), (1, 160, 30), (0, 3, 3)]
    common = [moving("move.mkv"), "--queries", queries_of("few.csv", rows), *QUICK]
    good(*common, "-o", "on.npz")
    good(*common, "-o", "off.npz", "--refine", "off")
    a, b = arrays_of("on.npz"), arrays_of("off.npz")
    assert set(a) - set(b) == {"sigma"} and a["sigma"].shape == (8, 4) and a["sigma"].dtype == "<f4"
    for i, sigma in enumerate(a["sigma"].values):
        t, n = divmod(i, 4)
        at, before = (x["tracks2d"].values[2 * i:2 * i + 2] for x in (a, b))
        assert (sigma == 0) == (t == rows[n][0]), (t, n, sigma)
        if sigma == 0:
            assert math.dist(at, rows[n][1:]) < 1e-3, (at, rows[n])
        elif math.isnan(sigma):
            assert math.dist(at, before) < 1e-3 and a["visibs"].values[i] == b["visibs"].values[i]
        else:
            assert a["visibs"].values[i] > 0.5
    assert any(map(math.isnan, a["sigma"].values)) and sum(s > 0 for s in a["sigma"].values) >= 12
    for name in set(b) - {"coords", "tracks2d", "visibs"}:
        assert a[name] == b[name], name


def queries_of_later_frames_are_found_before_them():
    rows = grid(6, 320, 240)
    good(moving("move.mkv"), "--queries", queries_of("late.csv", rows), *QUICK, "-o", "late.npz")
    expect_found(arrays_of("late.npz"), rows, of_frame=lambda t: t < 6)


def a_result_without_sigma_or_as_text_is_refined_too():
    rows = grid(0, 320, 240)
    common = [moving("move.mkv"), "--queries", queries_of("grid.csv", rows), *QUICK]
    good(*common, "-o", "whole.npz")
    good(*common, "-o", "part.npz", "--omit", "sigma")
    a, b = arrays_of("whole.npz"), arrays_of("part.npz")
    assert set(a) - set(b) == {"sigma"} and all(a[name] == b[name] for name in b)
    good(*common, "-o", "text.csv")
    lines = [line.split(",") for line in read("text.csv").decode().splitlines()]
    x, y = (lines[0].index(name) for name in ("x", "y"))
    ours = sorted((float(line[x]), float(line[y])) for line in lines[1:])
    theirs = sorted(zip(a["tracks2d"].values[::2], a["tracks2d"].values[1::2]))
    assert max(map(math.dist, ours, theirs)) < 1e-3


# When it is on -----------------------------------------------------------------------------------

def automatic_is_on_with_the_built_in_weights():
    skip_when_sanitized(SPATRACK)
    for refine in ("auto", "on"):
        good(BALL, *FAST, "--refine", refine, "-o", refine + ".npz", "--report", refine + ".json")
    assert arrays_of("auto.npz") == arrays_of("on.npz")
    for refine in ("auto", "on"):
        report = report_of(refine + ".json")
        assert report["settings"]["refine"] == refine
        assert [s["name"] for s in report["stages"]].count("refine") == 1
        assert json.loads(read_npz(path(refine + ".npz"))["version"].values)["settings"]["refine"] == refine


def automatic_is_off_with_published_weights():
    folder = place("published")
    built_in(folder, "front")
    built_in(folder, "offline")
    for refine in ("auto", "off", "on"):
        good(BALL, *FAST, "--weights", folder, "--refine", refine, "-o", refine + ".npz", "--report", refine + ".json")
        stages = [s["name"] for s in report_of(refine + ".json")["stages"]]
        assert ("refine" in stages) == (refine == "on"), stages
    assert arrays_of("auto.npz") == arrays_of("off.npz") and "sigma" not in arrays_of("auto.npz")
    versions = [json.loads(read_npz(path(name + ".npz"))["version"].values) for name in ("auto", "off")]
    for version in versions:
        version["settings"].pop("refine")
    assert versions[0] == versions[1]
    assert "sigma" in arrays_of("on.npz")


def the_front_alone_has_nothing_to_refine():
    good(BALL, "--stop-after", "front", "--max-frames", 2, "--refine", "on", "-o", "front.npz",
         "--report", "front.json")
    assert "sigma" not in arrays_of("front.npz")
    assert "refine" not in [s["name"] for s in report_of("front.json")["stages"]]


def quiet_is_quiet():
    skip_when_sanitized(SPATRACK)
    done = good(BALL, "-q", "--max-frames", 24, "--stride", 8, *FAST[2:], "-o", "quiet.npz", "--refine", "on")
    assert done.stderr == "" and done.stdout == "", done.stderr
    assert "refine" in good(BALL, "-v", *FAST, "-o", "loud.npz").stderr


# What must not change it -------------------------------------------------------------------------

def same_bytes_however_it_is_computed():
    skip_when_sanitized(SPATRACK)
    rows = grid(0, 320, 240, step=20)
    common = [moving("move.mkv"), "--queries", queries_of("many.csv", rows), *QUICK, "--refine", "on", "-o", "same.npz"]
    results = set()
    for how in (["--threads", 1], ["--threads", 2], ["--threads", 5], ["--weight-mode", "streamed"],
                ["--weight-mode", "resident", "--sleep-level", 2], ["--vram-budget", "80M"]):
        good(*common, *how)
        results.add(read("same.npz"))
    assert len(results) == 1


def several_videos_are_refined_one_by_one():
    skip_when_sanitized(SPATRACK)
    folder = place("several")
    video, rows = moving("move.mkv"), grid(0, 320, 240)
    queries = queries_of("grid.csv", rows)
    turned_back = clip("back.mkv", "-i", video, "-vf", "reverse", "-c:v", "ffv1")
    good(video, turned_back, "--queries", queries, *QUICK, "-o", folder + "/", "--sleep-after", "stage",
         "--sleep-level", 2)
    for name, sign in (("move", -1), ("back", 1)):
        a = read_npz(path(folder, name + ".npz"))
        expect_found(a, rows, motion=(1.5 * sign, 0.5 * sign))
        good(path(name + ".mkv"), "--queries", queries, *QUICK, "-o", "alone.npz")
        assert read("alone.npz") == read(path(folder, name + ".npz"))


# Ways of reading ---------------------------------------------------------------------------------

def the_online_mode_is_refined():
    """40 frames are three windows; their first frames are 0, 14, 28. A track is nowhere before its window."""
    rows = [(0, 200, 120), (30, 180.5, 130), (39, 150, 100.25), (15, 170, 90)]
    good(moving("long.mkv", 320, 240, 40), "--mode", "online", "--queries", queries_of("online.csv", rows), *QUICK,
         "--geometry", geometry(place("online"), 40, 3, 4), "-o", "online.npz")
    a = arrays_of("online.npz")
    first = [0 if t < 20 else 14 if t < 34 else 28 for t, _, _ in rows]
    for i, sigma in enumerate(a["sigma"].values):
        t, n = divmod(i, 4)
        if t < first[n]:
            assert math.isnan(sigma) and a["visibs"].values[i] == 0, (t, n)
    found = errors(a, rows)
    assert len(found) > 20 and statistics.median(found) < 0.1, (len(found), statistics.median(found))
    expect_projected(a)


def crops_and_smaller_frames_are_of_no_account():
    """The networks see a part of the frames, or see them small; the video is read in full."""
    skip_when_sanitized(SPATRACK)
    video, rows = moving("tall.mkv", 240, 420), grid(0, 240, 420, 60)
    inside = [row for row in rows if 110 < row[2] < 310]
    for more in (["--portrait", "crop"], ["--portrait", "fit"], ["--max-input-side", 120, "--portrait", "fit"],
                 ["--scale-by", 3], ["--fov", 50], ["--fixed-camera"]):
        good(video, "--queries", queries_of("tall.csv", inside), *QUICK, *more, "-o", "tall.npz")
        a = arrays_of("tall.npz")
        assert a["size"].values == (240, 420), a["size"].values
        expect_found(a, inside, 0.4)
        expect_projected(a)


def the_smallest_frames_are_taken():
    video = moving("tiny.mkv", 16, 16, 4)
    good(video, "--queries", queries_of("tiny.csv", [(0, 0, 0), (1, 15, 15), (3, 8, 7)]), *QUICK, "-o", "tiny.npz")
    a = arrays_of("tiny.npz")
    assert a["sigma"].shape == (4, 3) and all(map(math.isfinite, a["coords"].values))


def turned_frames_are_read_upright():
    flat = moving("flat.mp4", 320, 240, 8, "-c:v", "libx264", "-crf", "10", "-pix_fmt", "yuv420p")
    rows = grid(0, 320, 240)
    good(turned("turned.mp4", flat, 180), "--queries", queries_of("turned.csv", rows), *QUICK, "-o", "turned.npz")
    expect_found(arrays_of("turned.npz"), rows, motion=(1.5, 0.5))


def the_same_frames_are_read_again():
    video, rows = moving("long.mkv", 320, 240, 40), grid(1, 320, 240)
    queries = queries_of("stride.csv", rows)
    good(video, "--start", 0.5, "--stride", 3, "--max-frames", 5, "--queries", queries, *QUICK, "-o", "stride.npz")
    a = arrays_of("stride.npz")
    assert a["frame_index"].values == (5, 8, 11, 14, 17)
    expect_found(a, rows, step=3)


def images_and_pipes_are_as_good_as_files():
    skip_when_sanitized(SPATRACK)
    video, rows = moving("move.mkv"), grid(0, 320, 240)
    common = ["--queries", queries_of("grid.csv", rows), *QUICK, "-o", "some.npz"]
    good(video, *common)
    a = arrays_of("some.npz")
    expect_found(a, rows)
    folder = place("images")
    ffmpeg("-i", video, os.path.join(folder, "%02d.png"))
    good(folder, *common)
    b = arrays_of("some.npz")
    assert all(a[name] == b[name] for name in a if name not in ("timestamps", "rate"))
    good(os.path.join(folder, "%02d.png"), *common)
    assert b == arrays_of("some.npz")
    with open(video, "rb") as file:
        assert "not refined" not in good("-", *common, stdin=file).stderr
    assert a == arrays_of("some.npz")
    piped(video, *common, "--refine", "on", "--overlay", "drawn.png")  # which reads it a third time
    assert a == arrays_of("some.npz") and read("drawn.png")


def piped(video, *arguments, **more):
    with subprocess.Popen(["cat", video], stdout=subprocess.PIPE) as cat:
        return good("-", *arguments, stdin=cat.stdout, **more)


def notes_of(done):
    return [line for line in done.stderr.splitlines() if "not refined (--refine on keeps a copy" in line]


def a_pipe_is_not_refined_and_a_note_says_so():
    source = clip("ball.mkv", "-i", BALL, "-c", "copy")
    good(source, *FAST, "--refine", "off", "-o", "off.npz")
    # Nothing is kept, wherever that would be.
    done = piped(source, *FAST, "-o", "piped.npz", env={**ENVIRONMENT, "TMPDIR": "/none"})
    assert len(notes_of(done)) == 1, done.stderr
    assert arrays_of("piped.npz") == arrays_of("off.npz") and "sigma" not in arrays_of("off.npz")
    assert notes_of(piped(source, *FAST, "-q", "-o", "piped.npz")) == []
    # What an overlay keeps can be refined, too.
    done = piped(source, *FAST, "-o", "piped.npz", "--overlay", "drawn.png")
    good(source, *FAST, "-o", "on.npz")
    assert notes_of(done) == [] and arrays_of("piped.npz") == arrays_of("on.npz") and "sigma" in arrays_of("on.npz")


def in_a_named_pipe(*arguments):
    name = path("video.fifo")
    os.mkfifo(name)
    feed = subprocess.Popen(["sh", "-c", f'exec cat "{BALL}" >"{name}"'], stderr=subprocess.DEVNULL)
    try:
        return run(name, *FAST, "-o", "fifo.npz", *arguments)
    finally:
        feed.kill()
        feed.wait()
        os.remove(name)


def a_named_pipe_is_not_refined_and_a_note_says_so():
    done = in_a_named_pipe()
    assert done.returncode == 0 and len(notes_of(done)) == 1, done.stderr
    a = arrays_of("fifo.npz")
    good(BALL, *FAST, "--refine", "off", "-o", "off.npz")
    b = arrays_of("off.npz")
    assert "sigma" not in a and all(a[name] == b[name] for name in a)
    os.remove(path("fifo.npz"))
    done = in_a_named_pipe("--refine", "off")
    assert done.returncode == 0 and "refine" not in done.stderr, done.stderr


def a_named_pipe_is_refused_where_refinement_is_asked_for():
    os.mkfifo(path("again.fifo"))  # which nobody writes: it is not even opened
    refused(2, "again.fifo: not a regular file, but --refine reads the video twice", path("again.fifo"), *FAST,
            "-o", "again.npz", "--refine", "on")


def frames_that_changed_in_between_are_an_error():
    folder = place("changed")
    full, short = read(moving("long.mkv", 320, 240, 40)), read(moving("move.mkv"))
    small = read(moving("small.mkv", 160, 120, 40))
    for number, other in enumerate((short, small)):
        video, out = path(folder, f"{number}.mkv"), write(path(folder, f"{number}.npz"), "old")
        write(video, full)
        process = subprocess.Popen([SPATRACK, video, "-v", "-o", out, "--iters", "4", "--vo-points", "200"],
                                   env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "front: " in line:
                os.replace(write("other.mkv", other), video)
        assert process.wait(timeout=60) == 3, lines
        assert complaints("".join(lines))[-1].endswith(
            "its frames changed between the first and the second reading"), lines
        process.stderr.close()
        assert read(out) == b"old" and sorted(os.listdir(folder))[-1] == f"{number}.npz"


def a_signal_stops_it():
    """Refinement of very many points, of which there is more than the rest of the run."""
    folder = place("stopped")
    out = write(path(folder, "t.npz"), "old")
    process = subprocess.Popen([SPATRACK, BALL, "-v", "-o", out, "--grid", "60", "--iters", "1", "--vo-points", "0",
                                "--threads", "1"], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "tracker: " in line:
            break
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130
    process.stderr.close()
    assert os.listdir(folder) == ["t.npz"] and read(out) == b"old"


def bad_cases():
    for value in ("yes", "", "On"):
        yield f"refine {value!r}", [BALL, *FAST, "-o", "bad.npz", "--refine", value], 2, "--refine"
    yield "refine without a value", [BALL, *FAST, "-o", "bad.npz", "--refine"], 2, "--refine"


finish([tracks_come_nearer_the_truth, sigma_tells_what_is_found, queries_of_later_frames_are_found_before_them,
        a_result_without_sigma_or_as_text_is_refined_too, automatic_is_on_with_the_built_in_weights,
        automatic_is_off_with_published_weights, the_front_alone_has_nothing_to_refine, quiet_is_quiet,
        same_bytes_however_it_is_computed, several_videos_are_refined_one_by_one,
        the_online_mode_is_refined, crops_and_smaller_frames_are_of_no_account,
        the_smallest_frames_are_taken, turned_frames_are_read_upright, the_same_frames_are_read_again,
        images_and_pipes_are_as_good_as_files, a_pipe_is_not_refined_and_a_note_says_so,
        a_named_pipe_is_not_refined_and_a_note_says_so,
        a_named_pipe_is_refused_where_refinement_is_asked_for,
        frames_that_changed_in_between_are_an_error, a_signal_stops_it], bad_cases())
