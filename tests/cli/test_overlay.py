#!/usr/bin/env python3
"""--overlay of the real program, decoded again. Prints TAP.

Needs the ffprobe program as well.
"""
import csv
import json
import os
import resource
import shutil
import struct
import subprocess

from program import (BALL, ENVIRONMENT, clip, ffmpeg, finish, good, limited, path, place, read, refused, report_of, run,
                     tool, turned, write)

FAST = ["--vo-points", "20", "--iters", "1"]


def gray_clip(name, size="96x72", frames=6, *more):
    """Five frames a second."""
    return clip(name, "-f", "lavfi", "-i", f"testsrc=s={size}:r=5", "-frames:v", str(frames), "-vf",
                "format=gray,format=yuv420p", *(more or ("-c:v", "libx264")))


def probe(name):
    out = tool("ffprobe", "-v", "error", "-count_frames", "-select_streams", "v", "-of", "json",
               "-show_streams", "-show_frames", name)
    found = json.loads(out)
    stream = found["streams"][0]
    assert stream["pix_fmt"] == "yuv420p" and stream["codec_name"] == "h264", stream
    assert "side_data_list" not in stream, stream  # no rotation: the frames are upright
    data = read(name)
    assert 0 < data.index(b"moov") < data.index(b"mdat")  # the index comes first
    times = [float(f["pts_time"]) for f in found["frames"]]
    assert len(times) == int(stream["nb_read_frames"]) == int(stream["nb_frames"])
    return (*(stream[key] for key in ("width", "height", "r_frame_rate", "avg_frame_rate")), times)


def markers(name, width, height):
    """The centre of what is red in each frame, or None."""
    data = ffmpeg("-i", name, "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    found, size = [], 3 * width * height
    for at in range(0, len(data), size):
        frame = data[at:at + size]
        red = [2 * r - g - b for r, g, b in zip(frame[::3], frame[1::3], frame[2::3])]
        spots = [(v, i % width, i // width) for i, v in enumerate(red) if v > 60]
        weight = sum(v for v, _, _ in spots)
        found.append(weight and (sum(v * x for v, x, _ in spots) / weight,
                                 sum(v * y for v, _, y in spots) / weight))
    return found


def overlay_of_one_point(folder, video, x, y, *more, query=0, **how):
    """Tracks one point; returns what the CSV says of it and what is drawn."""
    queries = write(path(folder, "q.csv"), f"{query},{x},{y}\n".encode())
    out, drawn = path(folder, "t.csv"), path(folder, "o.mp4")
    good(video, "-o", out, "--overlay", drawn, "--queries", queries, "--background", "gray",
         "--trail", 0, *FAST, *more, **how)
    with open(out) as file:
        rows = list(csv.DictReader(file))
    return rows, drawn


def expect_markers(rows, drawn, query=0):
    """Where the CSV has the track inside the frame its marker is within a pixel of it."""
    width, height, *_ = probe(drawn)
    looked = 0
    for t, (row, found) in enumerate(zip(rows, markers(drawn, width, height))):
        x, y = float(row["x"]), float(row["y"])
        if t < query:
            assert not found, (t, found)
        elif 8 < x < width - 9 and 8 < y < height - 9:
            assert found and abs(found[0] - x) < 1 and abs(found[1] - y) < 1, (t, x, y, found)
            looked += 1
    assert looked


def the_overlay_has_the_clips_frames():
    place("plain")
    rows, drawn = overlay_of_one_point("plain", BALL, 240, 180, "--max-frames", 8)
    width, height, rate, average, times = probe(drawn)
    assert (width, height, rate, average) == (480, 360, "12/1", "12/1")
    assert len(times) == 8 == len(rows) and abs(times[7] - 7 / 12) < 1e-4 and times[0] == 0
    expect_markers(rows, drawn)
    assert sorted(os.listdir(path("plain"))) == ["o.mp4", "q.csv", "t.csv"]


def stride_and_start_slow_the_rate():
    place("stride")
    rows, drawn = overlay_of_one_point("stride", BALL, 100, 100, "--start", 0.5, "--stride", 3,
                                       query=2)
    _, _, rate, average, times = probe(drawn)
    assert (rate, average, len(times)) == ("4/1", "4/1", 6), (rate, average, times)
    assert times[0] == 0
    expect_markers(rows, drawn, query=2)


def fractions_and_variable_rates_are_kept():
    place("rates")
    ntsc = gray_clip("ntsc.mp4", "96x72", 6, "-c:v", "libx264", "-vf",
                "settb=1001/30000,setpts=N", "-r", "30000/1001")
    good(ntsc, "-o", path("rates/a.csv"), "--overlay", path("rates/a.mp4"), "--grid", 2, *FAST)
    assert probe(path("rates/a.mp4"))[2:4] == ("30000/1001",) * 2
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=96x72:r=10", "-frames:v", "6", "-vf",
           "settb=1/1000,setpts='N*100+50*mod(N\\,2)'", "-fps_mode", "passthrough",
           "-enc_time_base", "1:1000", "-c:v", "libx264", "-pix_fmt", "yuv420p", "uneven.mkv")
    good("uneven.mkv", "-o", path("rates/b.csv"), "--overlay", path("rates/b.mp4"), "--grid", 2,
         *FAST)
    times = probe(path("rates/b.mp4"))[4]
    expected = [0, 0.15, 0.2, 0.35, 0.4, 0.55]
    assert max(abs(a - b) for a, b in zip(times, expected)) < 2e-3, times


def odd_sizes_gain_a_row_and_a_column():
    place("odd")
    video = gray_clip("odd.mkv", "97x71", 4, "-c:v", "ffv1", "-pix_fmt", "gray")
    rows, drawn = overlay_of_one_point("odd", video, 50, 40)
    assert probe(drawn)[:2] == (98, 72)
    expect_markers(rows, drawn)


def rotated_and_tall_clips_are_upright():
    place("turned")
    flat = gray_clip("flat.mp4", "128x96", 3)
    video = turned("turned.mp4", flat, 90)
    for portrait in ("crop", "fit"):
        rows, drawn = overlay_of_one_point("turned", video, 48, 64, "--portrait",
                                           portrait)
        assert probe(drawn)[:2] == (96, 128)
        expect_markers(rows, drawn)


def wide_pixels_stay_wide():
    place("pixels")
    gray_clip("wide.mp4", "96x72", 2, "-c:v", "libx264", "-vf", "setsar=4/3,format=yuv420p")
    turned("high.mp4", "wide.mp4", 90)
    for name, shape in (("wide.mp4", "4:3"), ("high.mp4", "3:4")):
        good(path(name), "-o", path("pixels/t.csv"), "--overlay", path("pixels/o.mp4"), "--grid", 2, *FAST)
        found = tool("ffprobe", "-v", "error", "-show_entries", "stream=sample_aspect_ratio", "-of", "csv=p=0",
                     path("pixels/o.mp4"))
        assert found.decode().strip() == shape, (name, found)


def a_pipe_is_kept_for_the_second_reading():
    place("pipe")
    ffmpeg("-i", BALL, "-c", "copy", "pipe.mkv")
    queries = write(path("pipe/q.csv"), b"0,240,180\n")
    common = ["--queries", queries, "--max-frames", 4, *FAST]
    good(BALL, "-o", path("pipe/t.csv"), "--overlay", path("pipe/a.mp4"), *common)
    cat = subprocess.Popen(["cat", path("pipe.mkv")], stdout=subprocess.PIPE)
    good("-", "-o", path("pipe/t.csv"), "--overlay", path("pipe/b.mp4"), *common, stdin=cat.stdout)
    cat.stdout.close()
    cat.wait()
    with open(path("pipe.mkv"), "rb") as file:
        good("-", "-o", path("pipe/t.csv"), "--overlay", path("pipe/c.mp4"), *common, stdin=file)
    a, b, c = (read(path("pipe", name)) for name in ("a.mp4", "b.mp4", "c.mp4"))
    assert a == b == c
    cat = subprocess.Popen(["cat", path("pipe.mkv")], stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL)
    done = run("-", "-o", path("pipe/t.csv"), "--overlay", path("pipe/d.mp4"), *common,
               stdin=cat.stdout, env={**ENVIRONMENT, "TMPDIR": "/none"})
    cat.stdout.close()
    cat.wait()
    assert done.returncode == 7 and "set TMPDIR" in done.stderr, done.stderr


def images_are_drawn_on():
    place("images")
    ffmpeg("-i", BALL, "-frames:v", "3", "images/%02d.png")
    for video, name in ((path("images"), "a"), (path("images/%02d.png"), "b")):
        good(video, "-o", path(name + ".npz"), "--overlay", path(name + ".mp4"), "--grid", 2, *FAST)
        assert probe(path(name + ".mp4"))[2:4] == ("30/1", "30/1")


def the_sheet_is_a_png():
    place("sheet")
    good(BALL, "-o", path("sheet/t.npz"), "--overlay", path("sheet/o.png"), "--max-frames", 2,
         "--grid", 2, "--background", "dim", *FAST)
    data = read(path("sheet/o.png"))
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert width > 2 * 480 and height > 2 * 360
    ffmpeg("-i", "sheet/o.png", "-f", "null", "-")


def the_report_has_its_stage():
    place("report")
    good(BALL, "-o", path("report/t.npz"), "--overlay", path("report/o.mp4"), "--max-frames", 2,
         "--grid", 2, "--report", path("report/r.json"), *FAST)
    found = report_of("report/r.json")
    assert [s["name"] for s in found["stages"]][-1] == "overlay"
    assert "overlay" not in found["settings"] and "trail" not in found["settings"]


def the_same_run_gives_the_same_bytes():
    place("same")
    for name, threads in (("a", 1), ("b", 2)):
        for end in ("mp4", "png"):
            good(BALL, "-o", path("same/t.npz"), "--overlay", path("same", f"{name}.{end}"),
                 "--max-frames", 3, "--threads", threads, *FAST)
    for end in ("mp4", "png"):
        assert read(path("same", "a." + end)) == read(path("same", "b." + end))


def a_full_disk_keeps_what_was_there():
    place("full")
    old = [write(path("full", name), b"old") for name in ("t.npz", "o.mp4", "o.png")]
    for overlay in old[1:]:
        refused(7, os.path.basename(overlay), BALL, "-o", path("full/t.csv"), "--overlay", overlay,
                "--max-frames", 3, "--grid", 2, *FAST, preexec_fn=limited(resource.RLIMIT_FSIZE, 15000))


def bad_cases():
    """(name, arguments, exit code, piece of the message) of runs that must fail."""
    folder = place("bad")
    out = ["-o", write("bad/old.npz", "an old result"), "--max-frames", 2, "--grid", 2, *FAST]
    yield "another ending", [BALL, *out, "--overlay", path("bad/o.avi")], 2, ".mp4 or .png"
    yield "no ending", [BALL, *out, "--overlay", "mp4"], 2, ".mp4 or .png"
    for name in ("o.mp4", "o.png"):
        yield f"front alone, {name}", [BALL, *out, "--stop-after", "front", "--overlay",
                                       path("bad", name)], 2, "gives no tracks for --overlay"
    yield "bad background", [BALL, *out, "--background", "pink"], 2, "plain|dim|gray"
    yield "bad trail", [BALL, *out, "--trail", -1], 2, "--trail takes"
    yield "no folder", [BALL, *out, "--overlay", path("bad/none/o.mp4")], 7, "another --overlay"
    os.makedirs(path("bad/folder.mp4"))
    yield "a folder", [BALL, *out, "--overlay", path("bad/folder.mp4")], 7, "folder.mp4"
    shutil.copy(BALL, path("bad/video.mp4"))
    os.symlink("video.mp4", path("bad/link.mp4"))
    yield "the video", [path("bad/video.mp4"), *out, "--overlay", path("bad/video.mp4")], 2, \
        "replace the video"
    yield "the video by another name", [path("bad/video.mp4"), *out, "--overlay",
                                        path("bad/link.mp4")], 2, "replace the video"
    yield "the report", [BALL, *out, "--overlay", path("bad/o.png"), "--report",
                         path("bad/o.png")], 2, "replace the report"
    yield "among the images", [place("bad/images"), *out, "--overlay", path("bad/images/o.png")], 2, "one of the video's images"
    yield "kept", [BALL, *out[2:], "-o", path("new.npz"), "-n", "--overlay",
                   path("bad/video.mp4")], 7, "--no-clobber"
    os.mkfifo(path("bad/fifo"))
    yield "a named pipe", [path("bad/fifo"), *out, "--overlay", path("bad/o.mp4")], 2, "twice"
    yield "no video", [path("none.mp4"), *out, "--overlay", path("bad/o.mp4")], 3, "none.mp4"
    for end in ("mp4", "png"):
        os.symlink("/dev/full", path("bad/full." + end))
        yield f"full device, {end}", [BALL, *out, "--overlay", path("bad/full." + end)], 7, \
            "No space left"


finish([the_overlay_has_the_clips_frames, stride_and_start_slow_the_rate,
        fractions_and_variable_rates_are_kept, odd_sizes_gain_a_row_and_a_column,
        rotated_and_tall_clips_are_upright, wide_pixels_stay_wide, a_pipe_is_kept_for_the_second_reading,
        images_are_drawn_on, the_sheet_is_a_png, the_report_has_its_stage,
        the_same_run_gives_the_same_bytes, a_full_disk_keeps_what_was_there], bad_cases())
