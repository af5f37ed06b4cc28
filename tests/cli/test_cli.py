#!/usr/bin/env python3
"""The real program on real files. Prints TAP.

    tests/cli/test_cli.py SPATRACK SOURCE_ROOT

Needs only the standard library; clips are made with the ffmpeg program.
"""
import ast
import json
import os
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib

from tap import Skip, is_sanitized, run_cases, skip_when_sanitized

SPATRACK, ROOT = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
BALL = os.path.join(ROOT, "tests/data/ball.mp4")
FAST = ["--max-frames", "3", "--vo-points", "20", "--grid", "2", "--iters", "1"]
TEMPORARY = tempfile.mkdtemp(prefix="spatrack-cli-")
ENVIRONMENT = {**{k: v for k, v in os.environ.items()
                  if k not in ("SPATRACK_WEIGHTS", "XDG_DATA_HOME")}, "HOME": TEMPORARY}
LITE = "lite weights"

# Arrays as numpy would see them ------------------------------------------------------------------

CODES = {"<f4": "f", "<f8": "d", "<i8": "q", "|b1": "?", "|u1": "B"}


class Array:
    def __init__(self, dtype, shape, data):
        self.dtype, self.shape = dtype, shape
        self.values = (data.decode("utf-32-le").rstrip("\0") if dtype.startswith("<U") else
                       struct.unpack(f"<{len(data) // struct.calcsize(CODES[dtype])}{CODES[dtype]}",
                                     data))


def read_npz(path):
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        for name in archive.namelist():
            data = archive.read(name)
            assert data[:8] == b"\x93NUMPY\x01\0"
            size = struct.unpack("<H", data[8:10])[0]
            head = ast.literal_eval(data[10:10 + size].decode())
            assert not head["fortran_order"]
            arrays[name[:-4]] = Array(head["descr"], head["shape"], data[10 + size:])
    return arrays


def npy(dtype, shape, values):
    head = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {tuple(shape)!r}, }}"
    head += " " * (-(len(head) + 11) % 64) + "\n"
    return (b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head.encode() +
            struct.pack(f"<{len(values)}{CODES[dtype]}", *values))


def write_npz(path, **arrays):
    with zipfile.ZipFile(path, "w") as archive:
        for name, (shape, values) in arrays.items():
            archive.writestr(name + ".npy", npy("<f4", shape, values))


def write_png(path, width, height, pixel):
    rows = b"".join(b"\0" + bytes(pixel(x, y) for x in range(width)) for y in range(height))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" +
                   chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) +
                   chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def write(path, data):
    with open(path, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())
    return path


def read(path):
    with open(path, "rb") as file:
        return file.read()


# Running -----------------------------------------------------------------------------------------

def run(*arguments, cwd=None, **more):
    return subprocess.run([SPATRACK, *map(str, arguments)], cwd=cwd or TEMPORARY,
                          env=more.pop("env", ENVIRONMENT), capture_output=True,
                          stdin=more.pop("stdin", subprocess.DEVNULL), timeout=300, **more)


def good(*arguments, **more):
    done = run(*arguments, **more)
    assert done.returncode == 0, (done.returncode, done.stderr.decode()[-600:])
    return done


def ffmpeg(*arguments):
    if not shutil.which("ffmpeg"):
        raise Skip("there is no ffmpeg")
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *arguments], check=True,
                   cwd=TEMPORARY, stdin=subprocess.DEVNULL)


def clip(name, *arguments):
    """A clip made once, by name."""
    path = os.path.join(TEMPORARY, name)
    if not os.path.exists(path):
        ffmpeg(*arguments, name)
    return path


def test_clip(name="test.mp4", size="96x72", frames=6, *more):
    return clip(name, "-f", "lavfi", "-i", f"testsrc=s={size}:r=5", "-frames:v", str(frames),
                *(more or ("-c:v", "libx264", "-pix_fmt", "yuv420p")))


def place(name):
    """A fresh folder."""
    path = os.path.join(TEMPORARY, name)
    os.makedirs(path)
    return path


def is_identity(matrix):
    return all(abs(x - (i % 5 == 0)) < 1e-5 for i, x in enumerate(matrix))


# What works --------------------------------------------------------------------------------------

def every_array_is_there():
    out = os.path.join(place("arrays"), "t.npz")
    done = good(BALL, "-o", out, *FAST)
    a = read_npz(out)
    t, n, h, w = 3, 4, *a["depths"].shape[1:]
    shapes = {"coords": (t, n, 3), "tracks2d": (t, n, 2), "visibs": (t, n, 1), "confs": (t, n, 1),
              "dynamic": (n,), "queries": (n, 3), "extrinsics": (t, 4, 4), "intrinsics": (t, 3, 3),
              "depths": (t, h, w), "confs_depth": (t, h, w), "video": (t, 3, h, w),
              "frame_index": (t,), "timestamps": (t,), "version": ()}
    assert {k: v.shape for k, v in a.items()} == shapes
    assert max(h, w) <= 336
    for name, array in a.items():
        assert array.dtype == {"frame_index": "<i8", "timestamps": "<f8"}.get(name, "<f4") or \
            name == "version", (name, array.dtype)
    assert is_identity(a["extrinsics"].values[:16])
    assert all(0 <= v <= 1 for v in a["video"].values)
    assert a["frame_index"].values == (0, 1, 2)
    version = json.loads(a["version"].values)
    assert version["settings"]["max-frames"] == 3 and version["format"] == 1
    assert LITE in done.stderr.decode()
    assert "21 frames left out" in done.stderr.decode(), done.stderr


def rows_follow_the_queries():
    folder = place("queries")
    text = "t,x,y\n2,100.5,20\n0,300,200\n1,0,0\n0,479,359\n2,10,350\n"
    queries = write(os.path.join(folder, "q.csv"), text)
    good(BALL, "-o", os.path.join(folder, "q.npz"), "--queries", queries, "--max-frames", 3,
         "--vo-points", 20, "--iters", 1)
    a = read_npz(os.path.join(folder, "q.npz"))
    assert a["queries"].values == (2, 100.5, 20, 0, 300, 200, 1, 0, 0, 0, 479, 359, 2, 10, 350)
    for n, (frame, x, y) in enumerate(zip(*[iter(a["queries"].values)] * 3)):
        at = 2 * (int(frame) * 5 + n)
        near = a["tracks2d"].values[at:at + 2]
        assert abs(near[0] - x) < 60 and abs(near[1] - y) < 60, (n, near)


def a_mask_keeps_grid_points():
    folder = place("mask")
    mask = os.path.join(folder, "m.png")
    write_png(mask, 480, 360, lambda x, y: 255 if x < 240 else 0)
    good(BALL, "-o", "mask/t.npz", "--mask", mask, "--grid", 6, "--max-frames", 2, "--vo-points", 20,
         "--iters", 1)
    queries = read_npz(os.path.join(folder, "t.npz"))["queries"]
    assert queries.shape == (18, 3) and max(queries.values[1::3]) < 240


def csv_has_a_row_for_each():
    folder = place("csv")
    good(BALL, "-o", os.path.join(folder, "t.csv"), *FAST)
    lines = read(os.path.join(folder, "t.csv")).decode().splitlines()
    assert lines[0] == "track,frame,time,x,y,X,Y,Z,visible,confidence"
    assert len(lines) == 1 + 3 * 4 and lines[1].startswith("0,0,0,") and lines[5].startswith("1,1,")


def front_alone_and_its_geometry():
    folder = place("front")
    front, tracks = os.path.join(folder, "f.npz"), os.path.join(folder, "t.npz")
    good(BALL, "--stop-after", "front", "-o", front, "--max-frames", 3, "--max-side", 9999)
    a = read_npz(front)
    assert set(a) == {"depths", "confs_depth", "video", "extrinsics", "intrinsics", "frame_index",
                      "timestamps", "version"}, set(a)
    assert is_identity(a["extrinsics"].values[:16])
    good(BALL, "--geometry", front, "-o", tracks, "--fixed-camera", *FAST)
    b = read_npz(tracks)
    assert max(abs(x - y) for x, y in zip(a["extrinsics"].values, b["extrinsics"].values)) < 1e-5
    assert max(abs(x - y) for x, y in zip(a["intrinsics"].values, b["intrinsics"].values)) < 1e-3
    good(BALL, "-o", os.path.join(folder, "u.npz"), "--fixed-camera", *FAST)
    c = read_npz(os.path.join(folder, "u.npz"))
    difference = max(abs(x - y) for x, y in zip(b["tracks2d"].values, c["tracks2d"].values))
    assert difference < 0.01, difference


def geometry_of_another_size():
    folder = place("geometry")
    path = geometry(folder, 3, 30, 40)
    good(BALL, "--geometry", path, "-o", os.path.join(folder, "t.npz"), *FAST, "--fixed-camera")
    a = read_npz(os.path.join(folder, "t.npz"))
    w = a["depths"].shape[2]
    assert abs(a["intrinsics"].values[0] - 35 * w / 40) < 1e-3
    assert abs(a["depths"].values[0] - 2) < 1e-6


def compression_is_a_choice():
    folder = place("compress")
    good(BALL, "-o", os.path.join(folder, "a.npz"), *FAST)
    good(BALL, "-o", os.path.join(folder, "b.npz"), *FAST, "--no-compress")
    with zipfile.ZipFile(os.path.join(folder, "b.npz")) as archive:
        assert all(i.compress_type == zipfile.ZIP_STORED for i in archive.infolist())
    assert os.path.getsize(os.path.join(folder, "a.npz")) < os.path.getsize(
        os.path.join(folder, "b.npz"))


def same_bytes_whatever_the_threads():
    skip_when_sanitized(SPATRACK)
    folder = place("same")
    outs = []
    for name, threads in (("a", 1), ("b", 2), ("c", 2), ("d", 3)):
        outs.append(os.path.join(folder, name + ".npz"))
        good(BALL, "-o", outs[-1], "--max-frames", 4, "--vo-points", 150, "--threads", threads)
    assert len({read(out) for out in outs}) == 1


def seed_changes_support_points():
    folder = place("seed")
    for seed in (0, 1):
        good(BALL, "-o", os.path.join(folder, f"{seed}.npz"), *FAST, "--seed", seed)
    assert read(os.path.join(folder, "0.npz")) != read(os.path.join(folder, "1.npz"))


def start_and_stride_choose_frames():
    out = os.path.join(place("stride"), "t.npz")
    done = good(BALL, "-o", out, "--start", 0.5, "--stride", 4, "--stop-after", "front",
                "--max-frames", 3)
    a = read_npz(out)
    assert a["frame_index"].values == (6, 10, 14), a["frame_index"].values
    assert abs(a["timestamps"].values[1] - 10 / 12) < 1e-6
    assert b"2 frames left out" in done.stderr, done.stderr


def tall_clips_crop_or_fit():
    tall = test_clip("tall.mp4", "72x120", 2)
    folder = place("tall")
    done = good(tall, "-o", os.path.join(folder, "c.npz"), *FAST)
    assert b"--portrait fit" in done.stderr
    shape = read_npz(os.path.join(folder, "c.npz"))["depths"].shape
    assert shape[1] == shape[2]
    done = good(tall, "-o", os.path.join(folder, "f.npz"), *FAST, "--portrait", "fit")
    shape = read_npz(os.path.join(folder, "f.npz"))["depths"].shape
    assert shape[1] > shape[2] and b"--portrait" not in done.stderr


def a_pipe_is_read():
    out = os.path.join(place("pipe"), "t.npz")
    path = clip("pipe.mkv", "-i", BALL, "-c", "copy")
    with open(path, "rb") as file:
        good("-", "-o", out, *FAST, stdin=file)
    assert read_npz(out)["frame_index"].values == (0, 1, 2)


def images_are_read():
    folder = place("images")
    ffmpeg("-i", BALL, "-frames:v", "4", "images/%02d.png")
    good(folder, "-o", os.path.join(TEMPORARY, "images.npz"), *FAST)
    good(os.path.join(folder, "%02d.png"), "-o", os.path.join(TEMPORARY, "pattern.npz"), *FAST)
    a, b = (read_npz(os.path.join(TEMPORARY, n)) for n in ("images.npz", "pattern.npz"))
    assert a["tracks2d"].values == b["tracks2d"].values
    assert abs(a["timestamps"].values[2] - 2 / 30) < 1e-9


def unusual_clips_are_read():
    out = os.path.join(place("unusual"), "t.npz")
    cases = {"one.mp4": ("96x72", 1), "odd.mkv": ("97x71", 3, "-pix_fmt", "yuv444p", "-c:v", "ffv1"),
             "ten.mkv": ("96x72", 3, "-pix_fmt", "yuv420p10le", "-c:v", "ffv1"),
             "b.mp4": ("96x72", 6, "-c:v", "libx264", "-bf", "3", "-pix_fmt", "yuv420p"),
             "wide.mp4": ("320x64", 3), "gray.mkv": ("96x72", 3, "-pix_fmt", "gray", "-c:v", "ffv1")}
    for name, (size, frames, *more) in cases.items():
        good(test_clip(name, size, frames, *more), "-o", out, *FAST)
        assert len(read_npz(out)["frame_index"].values) == min(frames, 3), name


def rotation_shows_in_the_result():
    folder = place("rotation")
    flat = test_clip("flat.mp4", "128x96", 2)
    turned = clip("turned.mp4", "-i", flat, "-c", "copy", "-metadata:s:v", "rotate=180")
    really = clip("really.mkv", "-i", turned, "-c:v", "ffv1")
    for name, path in (("a", turned), ("b", really), ("c", flat)):
        good(path, "-o", os.path.join(folder, name + ".npz"), "--stop-after", "front")
    a, b, c = (read_npz(os.path.join(folder, n + ".npz"))["video"].values for n in "abc")
    assert sum(abs(x - y) for x, y in zip(a, b)) / len(a) < 0.02
    assert sum(abs(x - y) for x, y in zip(a, c)) / len(a) > 0.05


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
        stages = {s["name"]: s for s in json.loads(read(report))["stages"]}
        peaks.append(stages["tracker"]["peak_host_bytes"])
    assert abs(peaks[1] - peaks[0]) <= 0.05 * peaks[0], peaks


def a_short_clip_is_the_same_in_both_modes():
    folder, results = place("short"), []
    for mode in ("offline", "online"):
        out = os.path.join(folder, mode + ".npz")
        good(BALL, "--mode", mode, "-o", out, *FAST)
        results.append({k: v.values for k, v in read_npz(out).items() if k != "version"})
    assert results[0] == results[1]


def the_mode_says_how_many_frames():
    long = test_clip("long.mp4", "96x72", 305)
    late = write(os.path.join(place("late"), "q.csv"), "302,1,1")
    for mode, most in (("offline", 80), ("online", 300)):
        done = run(long, "--mode", mode, "-o", "t.csv", "--queries", late)
        left_out = f"{305 - most} frames left out: used the first {most} (--max-frames"
        assert done.returncode == 2 and left_out in done.stderr.decode(), done.stderr


def online_has_weights_of_its_own():
    folder, out = place("online-weights"), os.path.join(TEMPORARY, "online.npz")
    make_weights(folder, "front")
    done = run(BALL, "--mode", "online", "-o", out, "--weights", folder, *FAST)
    assert done.returncode == 4 and b"online: no model.safetensors" in done.stderr, done.stderr
    os.rename(os.path.join(make_weights(place("offline"), "offline"), "offline"),
              os.path.join(folder, "online"))
    done = good(BALL, "-v", "--mode", "online", "-o", out, "--weights", folder, *FAST)
    assert b"weights: " + os.path.join(folder, "online").encode() in done.stderr, done.stderr


def the_report_tells():
    folder = place("report")
    good(BALL, "-o", os.path.join(folder, "t.npz"), "--report", os.path.join(folder, "r.json"), *FAST)
    report = json.loads(read(os.path.join(folder, "r.json")))
    assert [s["name"] for s in report["stages"]] == ["frames", "front", "tracker", "result"]
    front, tracker = report["stages"][1:3]
    assert front["weight_bytes"] > 1e5 and tracker["peak_host_bytes"] > 1e5 and front["seconds"] > 0
    assert report["input"]["width"] == 480 and report["input"]["used_frames"] == 3
    assert report["settings"]["vo-points"] == 20 and "FFmpeg" in report["libraries"]


def the_default_name_is_the_videos():
    folder = place("default.d")
    shutil.copy(BALL, os.path.join(folder, "my clip.mp4"))
    good("my clip.mp4", *FAST, cwd=folder)
    assert sorted(os.listdir(folder)) == ["my clip.mp4", "my clip.npz"]
    shutil.copy(BALL, os.path.join(folder, "bare"))
    good(os.path.join(folder, "bare"), *FAST)
    assert "bare.npz" in os.listdir(folder)


def an_old_result_is_replaced_whole():
    out = write(os.path.join(place("replace"), "t.npz"), "old")
    good(BALL, "-o", out, *FAST)
    assert "coords" in read_npz(out)
    assert os.listdir(os.path.dirname(out)) == ["t.npz"]


def no_clobber_refuses_first():
    out = write(os.path.join(place("clobber"), "t.npz"), "old")
    done = run("/none.mp4", "-n", "-o", out)
    assert done.returncode == 7 and b"exists" in done.stderr and read(out) == b"old"


def help_and_man_page_agree():
    text = good("--help").stdout.decode()
    flags = set(re.findall(r"--[a-z][a-z0-9-]+", text))
    man = read(os.path.join(ROOT, "man/spatrack.1")).decode()
    page = {"--" + name for name in re.findall(r"^\.It.*?Fl -([a-z][a-z0-9-]*)", man, re.M)}
    letters = set(re.findall(r"^ +(-[a-z]), --", text, re.M))
    page_letters = set(re.findall(r"^\.It Fl ([a-z]) ", man, re.M))
    assert flags == page, flags ^ page
    assert letters == {"-" + letter for letter in page_letters}
    table = read(os.path.join(ROOT, "src/options.c")).decode()
    assert len(flags) == len(re.findall(r"^    \{(?!HEADING)[A-Z]+, \"", table, re.M))


def version_is_told():
    assert good("--version").stdout.startswith(b"spatrack 0.")


def quiet_and_verbose_differ():
    folder = place("quiet")
    done = good(BALL, "-q", "-o", os.path.join(folder, "t.npz"), *FAST)
    lines = done.stderr.decode().splitlines()
    assert lines == []
    done = good(BALL, "-v", "-o", os.path.join(folder, "t.npz"), *FAST)
    assert b"tracker: " in done.stderr and b"\033" not in done.stderr and b"\r" not in done.stderr


def weights_are_found_where_they_are():
    folder, out = place("weights"), os.path.join(TEMPORARY, "weights.npz")
    for model in ("front", "offline"):
        make_weights(folder, model)
    done = good(BALL, "-v", "-o", out, "--weights", folder, *FAST)
    assert LITE.encode() not in done.stderr and b"(--weights)" in done.stderr
    done = good(BALL, "-v", "-o", out, *FAST, env={**ENVIRONMENT, "SPATRACK_WEIGHTS": folder})
    assert b"($SPATRACK_WEIGHTS)" in done.stderr
    home = place("data/spatrack")
    os.symlink(folder, os.path.join(home, "weights"))
    done = good(BALL, "-v", "-o", out, *FAST,
                env={**ENVIRONMENT, "XDG_DATA_HOME": os.path.dirname(home)})
    assert b"($XDG_DATA_HOME)" in done.stderr


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
    assert os.listdir(folder) == ["t.npz"] and read(os.path.join(folder, "t.npz")) == b"old"


GOOD = [every_array_is_there, rows_follow_the_queries, a_mask_keeps_grid_points,
        csv_has_a_row_for_each, front_alone_and_its_geometry, geometry_of_another_size,
        compression_is_a_choice, same_bytes_whatever_the_threads, seed_changes_support_points,
        start_and_stride_choose_frames, tall_clips_crop_or_fit, a_pipe_is_read, images_are_read,
        unusual_clips_are_read, rotation_shows_in_the_result, online_follows_queries_of_any_window,
        online_memory_does_not_grow, a_short_clip_is_the_same_in_both_modes,
        the_mode_says_how_many_frames, online_has_weights_of_its_own, the_report_tells,
        the_default_name_is_the_videos, an_old_result_is_replaced_whole, no_clobber_refuses_first,
        help_and_man_page_agree, version_is_told, quiet_and_verbose_differ,
        weights_are_found_where_they_are, results_of_two_runs_at_once_are_whole,
        signals_stop_and_leave_nothing, a_killed_run_keeps_the_old_result]


# What does not ----------------------------------------------------------------------------------

def geometry(folder, frames, h, w, **changes):
    """A flat wall 2 away, seen by a camera that stands still."""
    arrays = {"depths": ((frames, h, w), [2.0] * (frames * h * w)),
              "intrinsics": ((frames, 3, 3), [35, 0, w / 2, 0, 35, h / 2, 0, 0, 1] * frames),
              "extrinsics": ((frames, 4, 4),
                             [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1] * frames)}
    arrays.update(changes)
    path = os.path.join(folder, "geometry.npz")
    write_npz(path, **{k: v for k, v in arrays.items() if v})
    return path


def changed(name, shape, values, at, value):
    values = list(values)
    values[at] = value
    return {name: (shape, values)}


def make_weights(folder, model, change=lambda data: data, config=None):
    """The built-in checkpoint as a folder, as published ones are."""
    data = read(os.path.join(ROOT, f"src/lite/{model}.safetensors"))
    size = struct.unpack("<Q", data[:8])[0]
    metadata = json.loads(data[8:8 + size])["__metadata__"]
    os.makedirs(os.path.join(folder, model), exist_ok=True)
    write(os.path.join(folder, model, "model.safetensors"), change(data))
    write(os.path.join(folder, model, "config.json"), metadata["config"] if config is None else config)
    return folder


def bad_cases():
    """(name, arguments, exit code, piece of the message) of runs that must fail."""
    folder = place("bad")

    def at(name):
        return os.path.join(folder, name)

    def file(name, data):
        return write(at(name), data)

    ball = read(BALL)
    noise = random.Random(1).randbytes(20000)
    out = ["-o", at("old.npz")]
    yield "no video", out, 2, "which video?"
    yield "two videos", [BALL, BALL, *out], 2, "-o takes a folder"
    yield "unknown flag", [BALL, "--frobnicate", *out], 2, "no flag --frobnicate"
    yield "unknown letter", [BALL, "-z", *out], 2, "no flag -z"
    yield "missing value", [*out, BALL, "--grid"], 2, "--grid needs a value"
    yield "value for a flag without", [BALL, "--fixed-camera=1", *out], 2, "takes no value"
    for flag, value in (("stride", "0"), ("stride", "1.5"), ("max-frames", "-3"), ("grid", "many"),
                        ("start", "-1"), ("start", "nan"), ("iters", "0"), ("vo-points", "1e9"),
                        ("seed", "-1"), ("max-side", "0"), ("threads", "0"), ("threads", ""),
                        ("max-input-side", "3")):
        yield f"--{flag} {value!r}", [BALL, f"--{flag}", value, *out], 2, f"--{flag} takes"
    yield "bad word", [BALL, "--portrait", "stretch", *out], 2, "--portrait takes crop|fit"
    yield "bad mode", [BALL, "--mode", "both", *out], 2, \
        "--mode takes offline|online, not \"both\""
    yield "mode without a word", [BALL, *out, "--mode"], 2, "--mode needs a value"
    yield "bad device", [BALL, "--device", "tpu", *out], 2, "--device takes"
    yield "quiet and verbose", [BALL, "-q", "-v", *out], 2, "exclude each other"
    yield "queries and grid", [BALL, "--queries", "q.csv", "--grid", 3, *out], 2, "leave out --grid"
    yield "queries and mask", [BALL, "--queries", "q.csv", "--mask", "m.png", *out], 2, "--mask"
    yield "geometry and stop", [BALL, "--geometry", "g.npz", "--stop-after", "front", *out], 2, \
        "no front"
    yield "no tracks for csv", [BALL, "--stop-after", "front", "-o", at("t.csv")], 2, ".csv"
    yield "pipe without -o", ["-"], 2, "with -o"

    yield "missing file", [at("none.mp4"), *out], 3, "No such file"
    yield "empty file", [file("zero.mp4", b""), *out], 3, "an empty file"
    yield "text called mp4", [file("text.mp4", "hello\n" * 50), *out], 3, "text.mp4"
    yield "noise called mp4", [file("noise.mp4", noise), *out], 3, "noise.mp4"
    for share in (10, 100, 1000, 5000):
        yield f"mp4 cut after {share}", [file("cut.mp4", ball[:share]), *out], 3, "cut.mp4"
    yield "folder without images", [folder, *out], 3, "without images"
    yield "pattern without images", [at("f%03d.png"), *out], 3, "number 0 to 4"
    yield "playlist", [file("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n" + BALL +
                            "\n#EXT-X-ENDLIST\n"), *out], 3, "list.m3u8"
    yield "start beyond the end", [BALL, "--start", 99, *out], 3, "ends before --start 99"
    if shutil.which("ffmpeg"):
        yield "audio only", [clip("sound.m4a", "-f", "lavfi", "-i", "sine=d=1"), *out], 3, \
            "no video stream"
        yield "very wide", [test_clip("broad.mkv", "2000x8", 2, "-c:v", "ffv1"), *out], 3, "narrow"
        images = place("bad-images")
        write_png(os.path.join(place("tiny"), "0.png"), 1, 1, lambda x, y: 100)
        yield "one pixel", [os.path.join(TEMPORARY, "tiny"), *out], 3, "1x1 are too small"
        ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x48", "-frames:v", "2", "bad-images/a%d.png")
        ffmpeg("-f", "lavfi", "-i", "testsrc=s=32x48", "-frames:v", "1", "bad-images/b.png")
        yield "images of two sizes", [images, *out], 3, "b.png: 32x48"

    for name, text, message in (
            ("empty", "", "no queries"), ("heading only", "t,x,y\n", "no queries"),
            ("words", "t,x,y\n0,1,2\nzero,one,two\n", "q.csv:3:"), ("two numbers", "0,1\n", ":1:"),
            ("off the frame", "0,480,10\n", "q.csv:1: x is 480"), ("above", "0,1,-0.5\n", "y is"),
            ("beyond the clip", "# c\n24,1,1\n", "q.csv:2: t is 24"), ("nan", "0,nan,1\n", ":1:"),
            ("half a frame", "0.5,1,1\n", "t is 0.5"), ("noise", noise, "q.csv:")):
        yield f"queries: {name}", [BALL, "--queries", file("q.csv", text), *out], 2, message
    yield "queries: missing", [BALL, "--queries", at("none.csv"), *out], 3, "none.csv"

    yield "mask: missing", [BALL, "--mask", at("none.png"), *out], 3, "none.png"
    yield "mask: no PNG", [BALL, "--mask", BALL, *out], 3, "not a PNG"
    write_png(at("black.png"), 480, 360, lambda x, y: 0)
    yield "mask: black", [BALL, "--mask", at("black.png"), *out], 2, "lies on the mask"
    yield "mask: cut", [BALL, "--mask", file("cut.png", read(at("black.png"))[:80]), *out], 3, "cut.png"

    def given(**changes):
        return [BALL, "--geometry", geometry(folder, 2, 3, 4, **changes), "--max-frames", 2, *out]
    depths, k = [2.0] * 24, [35, 0, 2, 0, 35, 1.5, 0, 0, 1] * 2
    pose = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1] * 2
    nan, inf = float("nan"), float("inf")
    yield "geometry: missing", [BALL, "--geometry", at("none.npz"), *out], 3, "none.npz"
    yield "geometry: no zip", [BALL, "--geometry", BALL, *out], 3, "ball.mp4"
    yield "geometry: no depths", given(depths=None), 3, "depths"
    yield "geometry: no poses", given(extrinsics=None), 3, "extrinsics"
    yield "geometry: other clip", [BALL, "--geometry", geometry(folder, 2, 3, 4), *out], 3, \
        "for 2 frames, the clip has 24"
    yield "geometry: flat depths", given(depths=((2, 12), depths)), 3, "depths"
    yield "geometry: nan", given(**changed("depths", (2, 3, 4), depths, 15, nan)), 3, \
        "depths: frame 1 holds"
    yield "geometry: inf", given(**changed("intrinsics", (2, 3, 3), k, 9, inf)), 3, "intrinsics"
    yield "geometry: focal length 0", given(**changed("intrinsics", (2, 3, 3), k, 0, 0)), 3, "fx, fy > 0"
    yield "geometry: stretched pose", given(**changed("extrinsics", (2, 4, 4), pose, 0, 2)), 3, \
        "no rotation"
    yield "geometry: mirrored pose", given(**changed("extrinsics", (2, 4, 4), pose, 16, -1)), 3, \
        "frame 1 is no rotation"

    yield "weights: missing", [BALL, "--weights", at("none"), *out], 4, "make -f weights.mk front"
    header = struct.unpack("<Q", read(os.path.join(ROOT, "src/lite/front.safetensors"))[:8])[0]
    for name, change, config, message in (
            ("cut header", lambda d: d[:500], None, "model.safetensors"),
            ("cut data", lambda d: d[:-1000], None, "model.safetensors"),
            ("long header", lambda d: struct.pack("<Q", 1 << 60) + d[8:], None, "header"),
            ("no JSON", lambda d: d[:8] + b"x" * header + d[8 + header:], None, "model.safetensors"),
            ("a tensor short", lambda d: d.replace(b"camera_head.token_norm.bias",
                                                   b"camera_head.token_norm.xxxx"), None,
             "camera_head.token_norm.bias"),
            ("bad config", lambda d: d, "{", "config.json"),
            ("other config", lambda d: d, '{"agg_num_heads": "two"}', "agg_num_heads")):
        weights = make_weights(place("bad-weights-" + name.replace(" ", "-")), "front", change, config)
        yield f"weights: {name}", [BALL, "--weights", weights, *out], 4, message

    yield "output: bad end", [BALL, "-o", at("t.mp4")], 2, ".npz or .csv"
    yield "output: no folder", [BALL, "-o", at("none/t.npz")], 7, "none"
    os.makedirs(at("folder.npz"))
    yield "output: a folder", [BALL, "-o", at("folder.npz")], 7, "folder.npz"
    yield "output: below a file", [BALL, "-o", at("old.npz/t.npz")], 7, "old.npz"
    shutil.copy(BALL, at("video.npz"))
    yield "output: the video", [at("video.npz"), "-o", at("video.npz")], 2, "replace the video"
    os.symlink("/dev/full", at("full.npz"))
    yield "output: full device", [BALL, *FAST, "-o", at("full.npz")], 7, "No space left"
    yield "report: no folder", [BALL, *out, "--report", at("none/r.json")], 7, "--report"
    yield "report: the result", [BALL, *out, "--report", at("old.npz")], 2, "replace the result"
    yield "report: full device", [BALL, *FAST, *out, "--report", at("full.npz")], 7, "No space left"


def check_bad(name, arguments, code, message):
    old = os.path.join(TEMPORARY, "bad/old.npz")
    write(old, "an old result")
    before = sorted(os.listdir(os.path.dirname(old)))
    done = run("-q", *arguments)  # no progress lines on a slow machine
    lines = [line for line in done.stderr.decode(errors="replace").splitlines()
             if "left out" not in line]
    assert done.returncode == code, (done.returncode, lines)
    assert len(lines) == 1 and lines[0].startswith("spatrack: "), lines
    assert message in lines[0], lines
    assert done.stdout == b""
    assert read(old) == b"an old result"
    assert sorted(os.listdir(os.path.dirname(old))) == before


def a_full_disk_keeps_the_old_result():
    folder = place("full")
    old = write(os.path.join(folder, "t.npz"), "old")

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))
    done = run(BALL, *FAST, "-o", old, preexec_fn=limit)
    assert done.returncode == 7 and b"t.npz" in done.stderr, (done.returncode, done.stderr)
    assert read(old) == b"old" and os.listdir(folder) == ["t.npz"]


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
    assert done.returncode == 7 and b"locked: Permission denied" in done.stderr, done.stderr
    assert os.listdir(folder) == []


def too_little_memory_is_told_first():
    folder = place("memory")
    if is_sanitized(SPATRACK):
        raise Skip("AddressSanitizer reserves all addresses")

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (1100 << 20, 1100 << 20))
    how = {"preexec_fn": limit,
           "env": ENVIRONMENT | {"MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"}}
    done = run(BALL, "-o", os.path.join(folder, "t.npz"), "--vo-points", 20000, "--threads", 1, **how)
    assert done.returncode == 5, (done.returncode, done.stderr)
    assert b"use --max-frames" in done.stderr, done.stderr
    fits = re.search(rb"--max-frames (\d+)", done.stderr).group(1).decode()
    assert 0 < int(fits) < 24 and os.listdir(folder) == []
    done = run(BALL, "-o", os.path.join(folder, "t.npz"), "--threads", 64, **how)
    assert done.returncode == 5 and b"use fewer with --threads" in done.stderr, (done.returncode, done.stderr)
    assert os.listdir(folder) == []


def case_list():
    for case in GOOD + [a_full_disk_keeps_the_old_result, a_folder_without_permission_is_named,
                        too_little_memory_is_told_first]:
        yield case.__name__, case
    for name, *rest in bad_cases():
        yield "refused: " + name, lambda name=name, rest=rest: check_bad(name, *rest)


def main():
    failures = run_cases(case_list(), *sys.argv[3:4])
    shutil.rmtree(TEMPORARY)
    sys.exit(failures > 0)


main()
