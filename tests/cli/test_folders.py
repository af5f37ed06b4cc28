#!/usr/bin/env python3
"""What is written as a folder of files: COLMAP's model, depth images, a cloud a frame, next to the result. Prints
TAP."""
import json
import math
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import time

from arrays import near, png_chunks, read_npz, read_png, rows
from program import (BALL, ENVIRONMENT, FAST, ROOT, SMALL, SPATRACK, TEMPORARY, clip, ffmpeg, files, finish, geometry,
                     good, limited, path, place, read, refused, run, test_clip, write)

MORE = ["--max-frames", "8", "--vo-points", "20", "--grid", "6", "--iters", "2"]
FOLDERS = ("--colmap", "model", "--depth", "exr", "--ply", "ply/c%03d.ply")
MODEL = ["sparse/0/cameras.txt", "sparse/0/images.txt", "sparse/0/points3D.txt", "sparse_pc.ply", "transforms.json"]


def tree(name):
    """The files of a folder, sorted."""
    root = path(name)
    return sorted(os.path.relpath(os.path.join(folder, file), root) for folder, _, names in os.walk(root)
                  for file in names)


def folders(name=TEMPORARY):
    return {os.path.join(root, each) for root, names, _ in os.walk(name) for each in names}


def exports():
    """A result, and the folders beside it."""
    if not os.path.exists(path("s.npz")):
        place("ply")
        good(BALL, "-q", *MORE, "-o", "s.npz", *FOLDERS)
        good(BALL, "-q", *MORE, "-o", "t.npz", "--depth", "png", "--depth-format", "png")
    return read_npz(path("s.npz"))


# COLMAP ------------------------------------------------------------------------------------------

def lines_of(name):
    return [line for line in read(f"model/sparse/0/{name}.txt").decode().split("\n")[:-1] if not line.startswith("#")]


def model():
    """Cameras {id: fx, fy, cx, cy}, images [(quaternion, translation, camera, name, observations)], points {id: (xyz,
    rgb, error, track)}."""
    cameras = {int(i): list(map(float, rest)) for i, kind, w, h, *rest in map(str.split, lines_of("cameras"))}
    images = []
    for head, points in rows(lines_of("images"), 2):
        _, *numbers, camera, name = head.split()
        numbers = list(map(float, numbers))
        images.append((numbers[:4], numbers[4:], int(camera), name, rows(points.split(), 3)))
    points = {int(p[0]): (list(map(float, p[1:4])), list(map(int, p[4:7])), float(p[7]), rows(list(map(int, p[8:])), 2))
              for p in map(str.split, lines_of("points3D"))}
    return cameras, images, points


def rotation(q):
    w, x, y, z = q
    return (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
            2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
            2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y))


def the_models_cameras_are_the_results():
    a = exports()
    cameras, images, _ = model()
    for t, (q, move, camera, name, _) in enumerate(images):
        k, e = rows(a["intrinsics_input"].values, 9)[t], rows(a["extrinsics"].values, 16)[t]
        near(cameras[camera], (k[0], k[4], k[2] + 0.5, k[5] + 0.5), 1e-4)  # their (0, 0) is a corner
        near(rotation(q), (*e[0:3], *e[4:7], *e[8:11]), 1e-6)
        near(move, (e[3], e[7], e[11]), 1e-8)
        assert name == f"frame_{t:06d}.png"
    assert len(images) == 8 and all(line.split()[1:4] == ["PINHOLE", "480", "360"] for line in lines_of("cameras"))


def seen(a, t, n):
    """Whether a track counts in a frame: visible, confident, found again, in the picture."""
    i = t * a["coords"].shape[1] + n
    x, y = a["tracks2d"].values[2 * i:2 * i + 2]
    return (a["visibs"].values[i] > 0.5 and a["confs"].values[i] > 0.5 and not math.isnan(a["sigma"].values[i]) and
            -0.5 <= x <= 479.5 and -0.5 <= y <= 359.5)


def the_models_points_are_tracks_that_stand_still():
    a = exports()
    _, images, points = model()
    t_count, n_count = a["coords"].shape[:2]
    es, ks = rows(a["extrinsics"].values, 16), rows(a["intrinsics_input"].values, 9)
    kept = []
    for n in range(n_count):
        times = [t for t in range(t_count) if seen(a, t, n)]
        if len(times) < 3 or a["dynamic"].values[n] >= 0.5:
            continue
        at = [rows(a["coords"].values, 3)[t * n_count + n] for t in times]
        mean = [sum(p[i] for p in at) / len(at) for i in range(3)]
        error = 0
        for t in times:
            p = [sum(es[t][4 * i + j] * mean[j] for j in range(3)) + es[t][4 * i + 3] for i in range(3)]
            x, y = a["tracks2d"].values[2 * (t * n_count + n):][:2]
            error += math.hypot(ks[t][0] * p[0] / p[2] + ks[t][2] - x, ks[t][4] * p[1] / p[2] + ks[t][5] - y)
        if error / len(times) <= 0.02 * 480:
            kept.append((n, times, mean, error / len(times)))
    assert len(kept) > 10 and len(points) == len(kept) < n_count
    for (n, times, mean, error), (ours, _, theirs, track) in zip(kept, points.values()):
        near(ours, mean, 1e-6)
        near([theirs], [error], 1e-3)
        assert [t - 1 for t, _ in track] == times
        for image, place in track:
            x, y, point = images[image - 1][4][place]
            i = (image - 1) * n_count + n
            near((float(x), float(y)), (v + 0.5 for v in a["tracks2d"].values[2 * i:2 * i + 2]), 1e-4)
            assert int(point) in points and points[int(point)][3] is track
    assert sum(len(track) for _, _, _, track in points.values()) == sum(len(image[4]) for image in images)
    assert all(int(p) in points for image in images for _, _, p in image[4])


def the_models_points_have_the_videos_colours():
    exports()
    _, images, points = model()
    off = []
    frame = {}
    for _, rgb, _, track in points.values():
        image, place = track[0]
        if image not in frame:
            frame[image] = read_png(path("model/images", images[image - 1][3]), colour=2)
        x, y, _ = map(float, images[image - 1][4][place])
        off.append(max(abs(a - b) for a, b in zip(rgb, frame[image][int(y)][3 * int(x):][:3])))
    assert max(off) == 0, sorted(off)


def the_models_images_are_the_frames():
    exports()
    raw = ffmpeg("-i", BALL, "-frames:v", "8", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    assert tree("model") == sorted(MODEL + [f"images/frame_{t:06d}.png" for t in range(8)])
    for t in (0, 7):
        ours = b"".join(read_png(path(f"model/images/frame_{t:06d}.png"), colour=2))
        theirs = raw[t * len(ours):(t + 1) * len(ours)]
        assert len(ours) == 3 * 480 * 360
        assert sum(abs(a - b) for a, b in zip(ours[::7], theirs[::7])) / len(ours[::7]) < 1.5


def transforms_are_the_poses():
    a = exports()
    found = json.loads(read("model/transforms.json"))
    assert (found["w"], found["h"], found["camera_model"]) == (480, 360, "OPENCV") and len(found["frames"]) == 8
    for t, frame in enumerate(found["frames"]):
        k, e = rows(a["intrinsics_input"].values, 9)[t], rows(a["extrinsics"].values, 16)[t]
        near((frame["fl_x"], frame["fl_y"], frame["cx"], frame["cy"]), (k[0], k[4], k[2] + 0.5, k[5] + 0.5), 1e-4)
        m = [x for row in frame["transform_matrix"] for x in row]
        w2c = [e[0:3], e[4:7], e[8:11]]
        for i in range(3):  # c2w = R^T of cameras that look along -z, y up
            near(m[4 * i:4 * i + 3], (s * w2c[j][i] for j, s in enumerate((1, -1, -1))))
            near([m[4 * i + 3]], [-sum(w2c[j][i] * e[4 * j + 3] for j in range(3))])
        assert m[12:] == [0, 0, 0, 1] and os.path.exists(path("model", frame["file_path"])), frame
    points = [list(map(float, line.split())) for line in
              read("model/" + found["ply_file_path"]).decode().split("end_header\n")[1].splitlines()]
    near((x for p in points for x in p), (x for p in model()[2].values() for x in (*p[0], *p[1])))


def a_camera_that_stays_is_one():
    test_clip("still.mp4", frames=3)
    place("wall")
    good("still.mp4", "-q", "--geometry", geometry("wall", 3, 36, 48), "--fixed-camera", *FAST[2:], "-o", "t.npz",
         "--colmap", "wall/m")
    assert read("wall/m/sparse/0/cameras.txt").count(b"PINHOLE") == 1
    assert read("wall/m/sparse/0/images.txt").count(b" 1 frame_") == 3


# Depth -------------------------------------------------------------------------------------------

def saved_depths(a):
    t, h, w = a["depths"].shape
    return w, rows(a["depths"].values, h * w)


def an_exr_holds_the_results_floats():
    a = exports()
    _, depths = saved_depths(a)
    assert tree("exr") == [f"depth_{t:06d}.exr" for t in range(8)]
    for t in (0, 7):
        raw = ffmpeg("-i", path(f"exr/depth_{t:06d}.exr"), "-f", "rawvideo", "-pix_fmt", "grayf32le", "-")
        assert struct.unpack(f"<{len(raw) // 4}f", raw) == depths[t]


def a_png_gives_the_depth_back_within_half_a_step():
    a = exports()
    _, depths = saved_depths(a)
    assert tree("png") == [f"depth_{t:06d}.png" for t in range(8)]
    scales = set()
    for t in (0, 7):
        name = path(f"png/depth_{t:06d}.png")
        text = dict(data.split(b"\0") for kind, data in png_chunks(name) if kind == b"tEXt")
        scales.add(float(text[b"depth_scale"]))
        values = struct.unpack(f">{len(depths[t])}H", b"".join(read_png(name, depth=16)))
        worst = max(abs(v * float(text[b"depth_scale"]) - d) for v, d in zip(values, depths[t]))
        assert worst <= 0.501 * float(text[b"depth_scale"]), (worst, text)
        assert b"depth_scale" in text[b"Description"]
    assert len(scales) == 1 and min(scales) < max(map(max, depths)) / 60000


def depth_needs_no_tracks():
    good(BALL, "-q", "--max-frames", 2, "--stop-after", "front", "-o", "f.npz", "--depth", "front", "--max-side", 64)
    _, depths = saved_depths(read_npz(path("f.npz")))
    raw = ffmpeg("-i", path("front/depth_000001.exr"), "-f", "rawvideo", "-pix_fmt", "grayf32le", "-")
    assert struct.unpack(f"<{len(raw) // 4}f", raw) == depths[1] and len(depths[1]) == 64 * 48
    refused(2, "gives no tracks for --colmap", BALL, "--stop-after", "front", "-o", "fresh.npz", "--colmap", "fresh")


# A cloud a frame ---------------------------------------------------------------------------------

def a_pattern_gives_each_frames_pixels():
    a = exports()
    h, w = a["depths"].shape[1:]
    assert tree("ply") == [f"c{t:03d}.ply" for t in range(8)]
    for t in (0, 7):
        head, data = read(f"ply/c{t:03d}.ply").split(b"end_header\n", 1)
        vertices, tracks = map(int, re.findall(rb"element \w+ (\d+)", head))
        k, e = rows(a["intrinsics"].values, 9)[t], rows(a["extrinsics"].values, 16)[t]
        trusted = [i for i in range(h * w) if a["confs_depth"].values[t * h * w + i] > 0.5]
        assert vertices == len(trusted) and len(data) == 15 * vertices + 28 * tracks
        for i in range(0, vertices, 997):
            *xyz, red = struct.unpack_from("<3fB", data, 15 * i)
            p = [sum(e[4 * r + c] * xyz[c] for c in range(3)) + e[4 * r + 3] for r in range(3)]
            near((k[0] * p[0] / p[2] + k[2], k[4] * p[1] / p[2] + k[5], p[2]),
                 (trusted[i] % w, trusted[i] // w, a["depths"].values[t * h * w + trusted[i]]), 2e-3)
            near([red / 255], [a["video"].values[3 * t * h * w + trusted[i]]], 0.003)
        frames = [struct.unpack_from("<2i", data, 15 * vertices + 28 * n) for n in range(tracks)]
        assert frames == [(n, t) for n in range(a["coords"].shape[1])]


def percent_signs_of_a_folder_stand_for_themselves():
    place("50%d")
    good(SMALL, "-q", *FAST, "-o", "t.npz", "--ply", "50%d/new/100%%_%d.ply", "--depth", "50%d/%")
    assert tree("50%d") == [*(f"%/depth_{t:06d}.exr" for t in range(3)), *(f"new/100%_{t}.ply" for t in range(3))]
    refused(7, "100%_0.ply exists", SMALL, "-n", "-o", "fresh.npz", "--ply", "50%d/new/100%%_%d.ply")


# Together ----------------------------------------------------------------------------------------

def what_else_a_folder_holds_stays():
    exports()
    shutil.copytree(path("model"), path("mine"))
    write("mine/notes.txt", "mine")
    write("mine/images/frame_000100.png", "mine")
    write("mine/sparse/0/points3D.txt", "old")
    good(BALL, "-q", *MORE, "-o", "t.npz", "--colmap", "mine")
    assert tree("mine") == sorted(tree("model") + ["notes.txt", "images/frame_000100.png"])
    assert all(read(f"mine/{name}") == read(f"model/{name}") for name in tree("model"))
    assert read("mine/images/frame_000100.png") == b"mine"


def what_exists_is_kept_with_n():
    exports()
    for flag, name, first in (("--colmap", "model", "cameras.txt"), ("--depth", "exr", "depth_000000.exr"),
                              ("--ply", "ply/c%03d.ply", "c000.ply")):
        refused(7, first + " exists", SMALL, "-n", "-o", "fresh.npz", flag, name)
    place("some")
    write("some/depth_000009.png", "")
    refused(7, "depth_000009.png exists", SMALL, "-n", "-o", "fresh.npz", "--depth", "some", "--depth-format", "png")
    good(SMALL, "-n", "-q", *FAST, "-o", "n.npz", "--depth", "some")
    assert len(tree("some")) == 4


def videos_have_folders_of_their_own():
    place("many/out")
    for name in ("one.mp4", "two.mp4"):
        shutil.copy(SMALL, path("many", name))
    good("one.mp4", "two.mp4", "-q", *FAST, "-o", "out/", "--colmap", "out/", "--depth", "out/", cwd=path("many"))
    assert sorted(os.listdir(path("many/out"))) == sorted(f"{name}{end}" for name in ("one", "two")
                                                          for end in (".npz", "_colmap", "_depth"))
    assert len(tree("many/out/two_depth")) == 3 and len(tree("many/out/one_colmap")) == len(MODEL) + 3
    for flag, name in (("--colmap", "out"), ("--depth", "out"), ("--ply", "out/c%d.ply")):
        refused(2, f"{flag} takes a folder", "one.mp4", "two.mp4", "-o", "out/", flag, name, cwd=path("many"))


def no_input_is_replaced():
    place("inputs/images")
    shutil.copy(SMALL, path("inputs/video.mp4"))
    for t in range(2):
        clip(f"inputs/images/frame_{t:06d}.png", "-i", SMALL, "-frames:v", "1")
        shutil.copy(path(f"inputs/images/frame_{t:06d}.png"), path(f"inputs/depth_{t:06d}.png"))
    out = ["-o", "fresh.npz"]
    png = ["--depth-format", "png", "--depth"]
    refused(2, "become one of the video's images", "inputs/images", *out, "--colmap", "inputs")
    refused(2, "become one of the video's images", "inputs/images/frame_%06d.png", *out, "--colmap", "inputs/.")
    refused(2, "become one of the video's images", "inputs/depth_%06d.png", *out, *png, "inputs")
    refused(2, "--depth would replace the video", "inputs", *out, "--depth", "inputs")
    refused(2, "would replace the video", "inputs/depth_000001.png", *out, *png, "inputs")
    refused(2, "would replace the mask", SMALL, *out, *png, "inputs", "--mask", "inputs/depth_000001.png")
    os.makedirs(path("linked"))
    os.symlink("../inputs/depth_000001.png", path("linked/1.png"))
    refused(2, "would replace the video", "linked/1.png", *out, *png, "inputs")
    refused(2, "an image of the video", "linked", *out, *png, "inputs")
    write("inputs/q1.ply", "0,9,9\n")
    refused(2, "would replace the queries", SMALL, *out, "--ply", "inputs/q%d.ply", "--queries", "inputs/q1.ply")


def no_output_is_replaced_by_another():
    exports()
    out = [SMALL, "-o", "fresh.npz"]
    refused(2, "--depth would replace", *out, "--colmap", "new", "--depth", "./new")
    refused(2, "--colmap would replace the report", *out, "--colmap", "model", "--report", "model/transforms.json")
    refused(2, "--colmap would replace the cameras", *out, "--colmap", "exr", "--cameras", "exr/transforms.json")
    refused(2, "--depth would replace the overlay", *out, "--depth-format", "png", "--depth", "exr", "--overlay",
            "exr/depth_000077.png")
    refused(2, "--ply would replace", *out, "--ply", "ply/%d.ply", "--report", "ply/5.ply")


def what_is_in_the_way_is_an_error_before_any_work():
    exports()
    write("file", "")
    place("way/images")
    write("way/sparse", "")
    refused(7, "way/sparse: Not a directory", SMALL, "-o", "fresh.npz", "--colmap", "way")
    for flag, name in (("--colmap", "file"), ("--depth", "file")):
        refused(7, "file: not a folder", SMALL, "-o", "fresh.npz", flag, name)
    for flag, name in (("--colmap", "none/m"), ("--depth", "none/d"), ("--ply", "none/p/%d.ply")):
        assert flag in refused(7, "No such file", SMALL, "-o", "fresh.npz", flag, name)


def a_disk_that_is_full_leaves_nothing():
    """Of a size that the result keeps and the files do not."""
    exports()
    place("tight")
    write("tight/depth_000000.png", "old")
    for flags in (["--colmap", "full"], ["--depth", "full"], ["--depth", "tight", "--depth-format", "png"],
                  ["--ply", "tight/%d.ply"]):
        before = folders()
        refused(7, "File too large", SMALL, *FAST, "-o", "fresh.csv", *flags,
                preexec_fn=limited(resource.RLIMIT_FSIZE, 4096))
        assert folders() == before
    assert read("tight/depth_000000.png") == b"old"


def stop_while(condition, number, *arguments):
    """Ends a run by a signal as soon as the condition holds; true when it held before the end."""
    process = subprocess.Popen([SPATRACK, *arguments], cwd=TEMPORARY, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    while process.poll() is None and not condition():
        time.sleep(0.002)
    process.send_signal(number)
    return process.wait(timeout=60) == 130


def an_interrupted_run_leaves_nothing():
    exports()
    shutil.copytree(path("exr"), path("half"))
    before, names, found = files(), folders(), 0
    for number in (signal.SIGINT, signal.SIGTERM):
        for flags, at in ((["--colmap", "cut"], "."), (["--depth", "half"], "half"), (["--ply", "half/%d.ply"], "half")):
            def writing():
                return any(".cut." in name or ".spatrack." in name
                           for folder in (path(at), *folders(path(at)) - names) for name in [folder]
                           if folder not in names)
            found += stop_while(writing, number, BALL, "-q", "--grid", "2", "--vo-points", "20", "--iters", "1", "-o",
                                "i.csv", *flags)
            for name in ("i.csv", *(f"half/{t}.ply" for t in range(24))):
                if os.path.exists(path(name)):  # it was done before the signal came
                    os.remove(path(name))
    assert found >= 3, found
    assert folders() - names <= {path("cut"), path("cut/images"), path("cut/sparse"), path("cut/sparse/0")}
    left = {name for name in files() if name not in before}
    assert not [name for name in left if ".cut" in name or ".spatrack" in name], left


def runs_give_the_same_bytes():
    exports()
    place("again")
    good(BALL, "-q", *MORE, "--threads", 2, "-o", "t.npz", "--colmap", "again/m", "--depth", "again/d")
    assert all(read(f"again/m/{name}") == read(f"model/{name}") for name in tree("model"))
    assert all(read(f"again/d/{name}") == read(f"exr/{name}") for name in tree("exr"))


def a_plan_counts_the_cloud():
    def host(*flags):
        return {s["stage"]: s["peak_host_bytes"] for s in
                json.loads(good(BALL, "--plan", "--json", *FAST, *flags).stdout)["stages"]}
    assert "exports" not in host("--depth", "x")
    assert host("--ply", "x.ply")["exports"] > 3 * 256 * 192 * 40 > host("--colmap", "x")["exports"] > 3 * 480 * 360
    assert re.search(r"^exports +on the CPU .* MB  -$", good(BALL, "--plan", *FAST, "--ply", "x.ply").stdout, re.M)


def bad_cases():
    out = [SMALL, "-o", "fresh.npz"]
    for name in ("c%s.ply", "c%d_%d.ply", "c%%.ply", "c%.ply", "c%n.ply", "c%1000d.ply", "50%_%d.ply"):
        yield f"pattern {name}", [*out, "--ply", name], 2, "has one number"
    yield "pattern of another ending", [*out, "--ply", "c%d.obj"], 2, "must end in .ply or _%04d.ply"
    yield "pattern of no length", [*out, "--ply", "c%999d.ply"], 7, "too long"
    yield "no such format", [*out, "--depth", "d", "--depth-format", "tiff"], 2, "exr|png"
    yield "format without images", [*out, "--depth-format", "png"], 2, "--depth"
    for flag, name in (("--colmap", "m"), ("--depth", "d"), ("--ply", "c%d.ply")):
        yield f"{flag}: sam alone", [SMALL, "--point", "240,180", "--stop-after", "sam", "--mask-out", "m.png", flag,
                                     name], 2, f"leave out {flag}"


finish([the_models_cameras_are_the_results, the_models_points_are_tracks_that_stand_still,
        the_models_points_have_the_videos_colours, the_models_images_are_the_frames, transforms_are_the_poses,
        a_camera_that_stays_is_one, an_exr_holds_the_results_floats, a_png_gives_the_depth_back_within_half_a_step,
        depth_needs_no_tracks, a_pattern_gives_each_frames_pixels, percent_signs_of_a_folder_stand_for_themselves,
        what_else_a_folder_holds_stays, what_exists_is_kept_with_n, videos_have_folders_of_their_own,
        no_input_is_replaced, no_output_is_replaced_by_another, what_is_in_the_way_is_an_error_before_any_work,
        a_disk_that_is_full_leaves_nothing, an_interrupted_run_leaves_nothing, runs_give_the_same_bytes,
        a_plan_counts_the_cloud], bad_cases())
