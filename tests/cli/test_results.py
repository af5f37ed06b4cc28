#!/usr/bin/env python3
"""What the real program writes, and what it reads. Prints TAP."""
import json
import math
import os
import shutil
import zipfile

from arrays import read_npz, write_png
from program import (BALL, FAST, SPATRACK, TEMPORARY, clip, ffmpeg, finish, geometry, good, path, place,
                     read, report_of, test_clip, turned,
                     write)
from tap import skip_when_sanitized


def is_identity(matrix):
    return all(abs(x - (i % 5 == 0)) < 1e-5 for i, x in enumerate(matrix))


def product(a, b):
    return [sum(a[4 * i + k] * b[4 * k + j] for k in range(4)) for i in range(4) for j in range(4)]


def moved(angle, t):
    """A turn about y, then a translation."""
    c, s = math.cos(angle), math.sin(angle)
    return [c, 0, s, t[0], 0, 1, 0, t[1], -s, 0, c, t[2], 0, 0, 0, 1]


def every_array_is_there():
    out = os.path.join(place("arrays"), "t.npz")
    done = good(BALL, "-o", out, *FAST)
    a = read_npz(out)
    t, n, h, w = 3, 4, *a["depths"].shape[1:]
    shapes = {"coords": (t, n, 3), "tracks2d": (t, n, 2), "visibs": (t, n, 1), "confs": (t, n, 1),
              "sigma": (t, n), "dynamic": (n,), "queries": (n, 3), "extrinsics": (t, 4, 4), "intrinsics": (t, 3, 3),
              "depths": (t, h, w), "confs_depth": (t, h, w), "video": (t, 3, h, w),
              "frame_index": (t,), "timestamps": (t,), "version": (),
              "intrinsics_input": (t, 3, 3), "size": (2,), "saved_size": (2,), "scale": (), "rate": ()}
    assert {k: v.shape for k, v in a.items()} == shapes
    assert max(h, w) <= 336
    for name, array in a.items():
        assert array.dtype == {"frame_index": "<i8", "timestamps": "<f8", "size": "<i8", "saved_size": "<i8",
                               "scale": "<f8", "rate": "<f8"}.get(name, "<f4") or name == "version", (name, array.dtype)
    assert a["size"].values == (480, 360) and a["saved_size"].values == (w, h) and a["scale"].values == (1,)
    assert a["rate"].values == (12,)
    assert is_identity(a["extrinsics"].values[:16])
    assert all(0 <= v <= 1 for v in a["video"].values)
    assert a["frame_index"].values == (0, 1, 2)
    version = json.loads(a["version"].values)
    assert version["settings"]["max-frames"] == 3 and version["format"] == 1
    assert "lite weights" in done.stderr
    assert "21 frames left out" in done.stderr, done.stderr


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
    write_png(mask, 480, [b"\xff" * 240 + bytes(240)] * 360)
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
                      "timestamps", "version", "intrinsics_input", "size", "saved_size", "scale",
                      "rate"}, set(a)
    good(BALL, "--geometry", front, "-o", tracks, "--fixed-camera", *FAST)
    b = read_npz(tracks)
    assert max(abs(x - y) for x, y in zip(a["intrinsics"].values, b["intrinsics"].values)) < 1e-3
    good(BALL, "-o", os.path.join(folder, "u.npz"), "--fixed-camera", *FAST)
    c = read_npz(os.path.join(folder, "u.npz"))
    difference = max(abs(x - y) for x, y in zip(b["tracks2d"].values, c["tracks2d"].values))
    assert difference < 0.01, difference


def poses_come_back():
    """Poses that move; the world is the first one's camera."""
    folder, out = place("poses"), path("poses/t.npz")
    moving = [moved(0.3 + 0.1 * t, (0.2 * t, -0.1, 1 + 0.5 * t)) for t in range(3)]
    good(BALL, "--geometry", geometry(folder, 3, 30, 40, extrinsics=((3, 4, 4), sum(moving, []))), "-o", out,
         "--fixed-camera", *FAST)
    found = read_npz(out)["extrinsics"].values
    for t in range(3):  # found times the first pose is the pose
        again = product(found[16 * t:16 * t + 16], moving[0])
        assert max(abs(x - y) for x, y in zip(again, moving[t])) < 1e-5, (t, again)
    assert not is_identity(found[16:32]) and not is_identity(found[32:])


def the_built_in_front_says_that_cameras_stand_still():
    for name, more, still in (("front", ["--stop-after", "front"], True), ("fixed", ["--fixed-camera", *FAST], True),
                              ("tracks", FAST, False)):
        done = good(BALL, "-o", f"{name}.npz", "--max-frames", 3, *more)
        arrays = read_npz(path(name + ".npz"))
        version = json.loads(arrays["version"].values)
        assert ("stand still" in done.stderr) == still == ("cameras" in version), (name, done.stderr, version)
        if still:
            assert version["cameras"].startswith("still: the built-in front")
            assert all(is_identity(arrays["extrinsics"].values[16 * t:16 * t + 16]) for t in range(3))


def geometry_of_another_size():
    folder = place("geometry")
    good(BALL, "--geometry", geometry(folder, 3, 30, 40), "-o", os.path.join(folder, "t.npz"), *FAST, "--fixed-camera")
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
    assert "2 frames left out" in done.stderr, done.stderr


def tall_clips_crop_or_fit():
    tall = test_clip("tall.mp4", "72x120", 2)
    folder = place("tall")
    done = good(tall, "-o", os.path.join(folder, "c.npz"), *FAST)
    assert "--portrait fit" in done.stderr
    shape = read_npz(os.path.join(folder, "c.npz"))["depths"].shape
    assert shape[1] == shape[2]
    done = good(tall, "-o", os.path.join(folder, "f.npz"), *FAST, "--portrait", "fit")
    shape = read_npz(os.path.join(folder, "f.npz"))["depths"].shape
    assert shape[1] > shape[2] and "--portrait" not in done.stderr


def a_pipe_is_read():
    out = os.path.join(place("pipe"), "t.npz")
    with open(clip("pipe.mkv", "-i", BALL, "-c", "copy"), "rb") as file:
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
    shown = turned("turned.mp4", flat, 180)
    really = clip("really.mkv", "-i", shown, "-c:v", "ffv1")
    for name, video in (("a", shown), ("b", really), ("c", flat)):
        good(video, "-o", os.path.join(folder, name + ".npz"), "--stop-after", "front")
    a, b, c = (read_npz(os.path.join(folder, n + ".npz"))["video"].values for n in "abc")
    assert sum(abs(x - y) for x, y in zip(a, b)) / len(a) < 0.02
    assert sum(abs(x - y) for x, y in zip(a, c)) / len(a) > 0.05


def the_report_tells():
    folder = place("report")
    good(BALL, "-o", os.path.join(folder, "t.npz"), "--report", os.path.join(folder, "r.json"), *FAST)
    report = report_of(os.path.join(folder, "r.json"))
    assert [s["name"] for s in report["stages"]] == ["frames", "front", "tracker", "refine", "result"]
    front, tracker, refinement = report["stages"][1:4]
    assert front["weight_bytes"] > 1e5 and tracker["peak_host_bytes"] > 1e5 and front["seconds"] > 0
    assert refinement["seconds"] > 0 and refinement["mode"] is None
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


finish([every_array_is_there, rows_follow_the_queries, a_mask_keeps_grid_points,
        csv_has_a_row_for_each, front_alone_and_its_geometry, poses_come_back,
        the_built_in_front_says_that_cameras_stand_still, geometry_of_another_size,
        compression_is_a_choice, same_bytes_whatever_the_threads, seed_changes_support_points,
        start_and_stride_choose_frames, tall_clips_crop_or_fit, a_pipe_is_read, images_are_read,
        unusual_clips_are_read, rotation_shows_in_the_result, the_report_tells,
        the_default_name_is_the_videos])
