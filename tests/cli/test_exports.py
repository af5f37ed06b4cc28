#!/usr/bin/env python3
"""What other programs read, as the real program writes it: scene, cameras, cloud, next to the result. Prints TAP."""
import json
import math
import os
import re
import shutil
import signal
import struct
import subprocess

from arrays import near, read_npz, rows
from program import (BALL, ENVIRONMENT, FAST, SMALL, SPATRACK, TEMPORARY, files, finish, good, path, place, read,
                     refused, write)

EXPORTS = ("--usd", "s.usda", "--cameras", "s.json", "--ply", "s.ply", "--viewer", "s.html")
FLIP = (1, -1, -1)


def exports():
    """A result, and what was written beside it."""
    if not os.path.exists(path("s.npz")):
        good(SMALL, "-q", *FAST, "-o", "s.npz", *EXPORTS, "--usd-cloud")
        good(SMALL, "-q", *FAST, "-o", "s.npz", "--cameras", "s.chan")
    return read_npz(path("s.npz"))


def f32(value):
    """The float32 that nine digits stand for."""
    return struct.unpack("f", struct.pack("f", value))[0]


def numbers(text):
    return [float(n) for n in re.findall(r"-?(?:\d[\d.e+-]*|nan|inf)", text)]


# The scene ---------------------------------------------------------------------------------------

def prim(kind, name):
    text = read("s.usda").decode()
    return re.search(rf'^    def {kind} "{name}"\n    {{\n(.*?)^    }}\n', text, re.M | re.S).group(1)


def samples(prim, name):
    """{time: numbers} of an attribute."""
    text = re.search(rf" {re.escape(name)}\.timeSamples = {{\n(.*?)^        }}", prim, re.M | re.S).group(1)
    return {int(time): numbers(values) for time, values in re.findall(r"(\d+): (.*),\n", text)}


def constant(prim, name):
    return numbers(re.search(rf" {re.escape(name)} = (.*?)(?: \($|$)", prim, re.M).group(1))


def inverse(m):
    """Of a rigid transform [16]."""
    r = [[m[4 * j + i] for j in range(3)] for i in range(3)]
    t = [-sum(r[i][j] * m[4 * j + 3] for j in range(3)) for i in range(3)]
    return [*r[0], t[0], *r[1], t[1], *r[2], t[2], 0, 0, 0, 1]


def y_up(w2c):
    """c2w of the scene."""
    s = (*FLIP, 1)
    return [s[i // 4] * s[i % 4] * value for i, value in enumerate(inverse(w2c))]


def the_scene_has_the_results_times():
    exports()
    head = read("s.usda").decode().split("def ")[0]
    assert head.startswith("#usda 1.0\n")
    found = dict(re.findall(r"^    (\w+) = (.*)$", head, re.M))
    assert found["upAxis"] == '"Y"' and found["defaultPrim"] == '"Scene"' and found["metersPerUnit"] == "1"
    assert (found["startTimeCode"], found["endTimeCode"], found["timeCodesPerSecond"]) == ("1", "3", "12"), found


def the_scene_has_the_results_points():
    a = exports()
    tracks = prim("Points", "Tracks")
    points = samples(tracks, "points")
    n = a["coords"].shape[1]
    near([x for t in (1, 2, 3) for x in points[t]],
         [FLIP[i % 3] * x for i, x in enumerate(a["coords"].values)])
    visible = samples(tracks, "primvars:visible")
    assert [v for t in (1, 2, 3) for v in visible[t]] == [x > 0.5 for x in a["visibs"].values]
    assert constant(tracks, "ids") == list(range(n))
    assert len(constant(tracks, "widths")) == n and min(constant(tracks, "widths")) > 0
    assert len(constant(tracks, "primvars:displayColor")) == 3 * n
    near(map(f32, constant(tracks, "primvars:dynamic")), a["dynamic"].values, 0)
    assert str([f32(v) for v in samples(tracks, "primvars:sigma")[2]]) == str(list(rows(a["sigma"].values, n)[1]))


def the_scenes_camera_sees_the_tracks():
    a = exports()
    camera, tracks = prim("Camera", "Camera"), prim("Points", "Tracks")
    poses, points = samples(camera, "xformOp:transform"), samples(tracks, "points")
    w, h = a["size"].values
    wide, n = constant(camera, "horizontalAperture")[0], a["coords"].shape[1]
    tall, focal = samples(camera, "verticalAperture"), samples(camera, "focalLength")
    right, up = samples(camera, "horizontalApertureOffset"), samples(camera, "verticalApertureOffset")
    worst = 0
    for t in (1, 2, 3):
        near([poses[t][4 * j + i] for i in range(4) for j in range(4)],
             y_up(rows(a["extrinsics"].values, 16)[t - 1]))
        w2c = inverse([poses[t][4 * j + i] for i in range(4) for j in range(4)])
        for i, point in enumerate(rows(points[t], 3)):
            x, y, z = (sum(w2c[4 * r + c] * point[c] for c in range(3)) + w2c[4 * r + 3] for r in range(3))
            film = [focal[t][0] * x / -z - right[t][0], focal[t][0] * y / -z - up[t][0]]
            seen = (film[0] / wide + 0.5) * w - 0.5, (0.5 - film[1] / tall[t][0]) * h - 0.5
            wanted = a["tracks2d"].values[2 * ((t - 1) * n + i):][:2]
            worst = max(worst, math.dist(seen, wanted))
    assert worst < 0.02, worst  # refined: coords project onto tracks2d


def the_scene_holds_the_first_frame_when_asked():
    a = exports()
    cloud = prim("Points", "Cloud")
    points = rows(constant(cloud, "points"), 3)
    h, w = a["depths"].shape[1:]  # the lite frames are saved as they are
    trusted = [i for i in range(h * w) if a["confs_depth"].values[i] > 0.5]
    near([-z for _, _, z in points], [a["depths"].values[i] for i in trusted])
    assert len(constant(cloud, "widths")) == len(trusted)
    red = [c[0] for c in rows(constant(cloud, "primvars:displayColor"), 3)]
    near([1.055 * c ** (1 / 2.4) - 0.055 if c > 0.0031308 else 12.92 * c for c in red],
         [a["video"].values[i] for i in trusted], 0.004)
    good(SMALL, "-q", *FAST, "-o", "t.npz", "--usd", "t.usda")
    assert b"Cloud" not in read("t.usda") and b"Tracks" in read("t.usda")


def a_stride_slows_the_scene():
    good(SMALL, "-q", *FAST, "--stride", 3, "-o", "t.npz", "--usd", "t.usda", "--cameras", "t.json")
    assert b"    timeCodesPerSecond = 4\n" in read("t.usda")
    assert json.loads(read("t.json"))["rate"] == 4 and json.loads(read("t.json"))["frames"][1]["index"] == 3


# Cameras -----------------------------------------------------------------------------------------

def cameras_are_the_results():
    a = exports()
    cameras = json.loads(read("s.json"))
    assert cameras["size"] == list(a["size"].values) and cameras["rate"] == 12 and cameras["scale"] == 1
    assert cameras["version"] == json.loads(a["version"].values)
    assert {"pixels", "camera", "world", "K", "w2c", "c2w"} <= set(cameras["conventions"])
    frames = cameras["frames"]
    assert [f["frame"] for f in frames] == [0, 1, 2] and [f["index"] for f in frames] == list(a["frame_index"].values)
    near((f["time"] for f in frames), a["timestamps"].values, 1e-8)
    for name, array in (("K", "intrinsics_input"), ("w2c", "extrinsics")):
        near((f32(x) for f in frames for row in f[name] for x in row), a[array].values, 0)
    near((x for f in frames for row in f["c2w"] for x in row),
         (x for m in rows(a["extrinsics"].values, 16) for x in inverse(m)))


def a_chan_has_a_line_a_frame():
    a = exports()
    lines = [numbers(line) for line in read("s.chan").decode().splitlines()]
    assert [line[0] for line in lines] == [1, 2, 3] and {len(line) for line in lines} == {8}
    for line, w2c, k in zip(lines, rows(a["extrinsics"].values, 16), rows(a["intrinsics_input"].values, 9)):
        m = y_up(w2c)
        near(line[1:4], (m[3], m[7], m[11]))
        x, y, z = map(math.radians, line[4:7])
        s, c = math.sin, math.cos  # Ry Rx Rz
        near((c(y) * c(z) + s(y) * s(x) * s(z), c(x) * s(z), -s(x), s(y) * c(x)), (m[0], m[4], m[6], m[2]))
        near([math.tan(math.radians(line[7]) / 2)], [a["size"].values[1] / 2 / k[4]])


# The cloud ---------------------------------------------------------------------------------------

TYPES = {"float": "f", "int": "i", "uchar": "B"}


def read_ply(name):
    """{element: rows}, and {element: names of the columns}."""
    head, data = read(name).split(b"end_header\n", 1)
    lines = head.decode().splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    found, columns, at = {}, {}, 0
    for element, count, properties in re.findall(r"^element (\w+) (\d+)\n((?:property .*\n)*)", head.decode(), re.M):
        kinds, columns[element] = zip(*re.findall(r"property (\w+) (\w+)", properties))
        row = struct.Struct("<" + "".join(TYPES[kind] for kind in kinds))
        found[element] = list(row.iter_unpack(data[at:at + int(count) * row.size]))
        at += int(count) * row.size
    assert at == len(data)
    return found, columns


def the_cloud_has_the_results_tracks():
    a = exports()
    ply, columns = read_ply("s.ply")
    t, n = a["coords"].shape[:2]
    assert columns["vertex"] == ("x", "y", "z", "red", "green", "blue")
    assert columns["track"] == ("track", "frame", "x", "y", "z", "confidence", "red", "green", "blue", "visible")
    assert [row[:2] for row in ply["track"]] == [(i, j) for i in range(n) for j in range(t)]
    for row in ply["track"]:
        at = row[1] * n + row[0]
        assert row[2:5] == a["coords"].values[3 * at:3 * at + 3] and row[5] == a["confs"].values[at]
        assert row[9] == (a["visibs"].values[at] > 0.5)


def the_cloud_lies_on_the_depths():
    """Every vertex, in some frame, at that frame's depth and of its colour; frames that are far apart."""
    good(SMALL, "-q", *FAST, "--stride", 10, "-o", "c.npz", "--ply", "c.ply")
    a, (ply, _) = read_npz(path("c.npz")), read_ply("c.ply")
    h, w = a["depths"].shape[1:]
    poses, ks, off = rows(a["extrinsics"].values, 16), rows(a["intrinsics"].values, 9), []
    assert len(ply["vertex"]) > 10000
    for x, y, z, red, *_ in ply["vertex"][::50]:
        best = (9, 9)
        for t, (m, k) in enumerate(zip(poses, ks)):
            p = [m[4 * i] * x + m[4 * i + 1] * y + m[4 * i + 2] * z + m[4 * i + 3] for i in range(3)]
            u, v = round(k[0] * p[0] / p[2] + k[2]), round(k[4] * p[1] / p[2] + k[5])
            if p[2] > 0 and 0 <= u < w and 0 <= v < h:
                at = (t * h + v) * w + u
                best = min(best, (abs(a["depths"].values[at] / p[2] - 1),
                                  abs(a["video"].values[at + 2 * t * h * w] * 255 - red)))
        off.append(best)
    off.sort()
    middle = off[len(off) // 2]
    assert middle[0] < 0.01 and off[len(off) * 9 // 10][0] < 0.06, (middle, off[-1])
    assert sorted(colour for _, colour in off)[len(off) // 2] < 5


# Together ----------------------------------------------------------------------------------------

def the_front_alone_gives_cameras_and_a_cloud():
    good(SMALL, "-q", "--max-frames", 3, "-o", "f.npz", "--stop-after", "front", "--usd", "f.usda", "--usd-cloud",
         "--cameras", "f.json", "--ply", "f.ply", "--viewer", "f.html")
    ply, _ = read_ply("f.ply")
    assert "track" not in ply and len(ply["vertex"]) > 1000
    assert b'"Tracks"' not in read("f.usda") and b'"Cloud"' in read("f.usda")
    assert len(json.loads(read("f.json"))["frames"]) == 3


def names_in_a_folder_are_the_videos():
    place("many/out")
    for name in ("one.mp4", "two.mp4"):
        shutil.copy(SMALL, path("many", name))
    folders = ["-o", "out/", "--usd", "out/", "--cameras", "out/", "--ply", "out/", "--viewer", "out/"]
    good("one.mp4", "two.mp4", "-q", *FAST, *folders, cwd=path("many"))
    assert sorted(os.listdir(path("many/out"))) == sorted(f"{name}.{end}" for name in ("one", "two")
                                                          for end in ("npz", "usda", "json", "ply", "html"))
    good("one.mp4", "-q", *FAST, *folders, cwd=path("many"))
    for end, flag in (("usda", "--usd"), ("json", "--cameras"), ("ply", "--ply"), ("html", "--viewer")):
        write(f"many/out/one.{end}", "somebody else's")
        refused(7, "was not written by spatrack", "one.mp4", "-o", "t.npz", flag, "out/", cwd=path("many"))
        os.remove(path(f"many/out/one.{end}"))


def what_exists_is_kept_with_n():
    exports()
    for flag, name in (("--usd", "s.usda"), ("--cameras", "s.json"), ("--cameras", "s.chan"), ("--ply", "s.ply"),
                       ("--viewer", "s.html")):
        refused(7, f"{name} exists", SMALL, "-n", "-o", "fresh.npz", flag, name)


def no_input_is_replaced():
    place("inputs")
    for ending, flag in (("usda", "--usd"), ("json", "--cameras"), ("chan", "--cameras"), ("ply", "--ply"), ("html", "--viewer")):
        name = f"inputs/video.{ending}"
        shutil.copy(SMALL, path(name))
        line = refused(2, "replace the video", name, "-o", "fresh.npz", flag, "inputs/../" + name)
        assert flag in line, line
        line = refused(2, "", SMALL, "-o", "fresh.npz", flag, f"x.{ending}", "--report", f"./x.{ending}")
        assert flag in line and "--report" in line, line


def an_interrupted_run_leaves_nothing():
    before = files()
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 130)):
        process = subprocess.Popen([SPATRACK, BALL, "-v", "-o", "i.npz", "--usd", "i.usda", "--cameras", "i.json", "--ply",
                                    "i.ply", "--viewer", "i.html", "--iters", "64", "--vo-points", "3000"], cwd=TEMPORARY, env=ENVIRONMENT,
                                   stderr=subprocess.PIPE)
        for line in process.stderr:
            if b"front: " in line:
                break
        process.send_signal(number)
        process.stderr.read()
        process.stderr.close()
        assert process.wait(timeout=60) == code, process.returncode
        assert files() == before, files().keys() ^ before.keys()


def a_full_device_is_an_error():
    for ending, flag in (("usda", "--usd"), ("json", "--cameras"), ("chan", "--cameras"), ("ply", "--ply"), ("html", "--viewer")):
        os.symlink("/dev/full", path(f"full.{ending}"))
        refused(7, "No space left", SMALL, *FAST, "-o", "fresh.npz", flag, f"full.{ending}")


def exports_stream_into_a_fifo():
    exports()
    for flag, name in (("--usd", "p.usda"), ("--cameras", "p.json"), ("--ply", "p.ply"), ("--viewer", "p.html")):
        os.mkfifo(path(name))
        with open(path("got"), "wb") as got, subprocess.Popen(["cat", path(name)], stdout=got) as reader:
            good(SMALL, "-q", *FAST, "-o", "t.npz", flag, name, *(["--usd-cloud"] if flag == "--usd" else []))
            reader.wait(timeout=10)
        assert read("got") == read("s" + name[1:]), name


def bad_cases():
    out = [SMALL, "-o", "fresh.npz"]
    yield "scene: bad end", [*out, "--usd", "s.usd"], 2, "must end in .usda"
    yield "cameras: bad end", [*out, "--cameras", "s.txt"], 2, "must end in .json or .chan"
    yield "cloud: bad end", [*out, "--ply", "s.obj"], 2, "must end in .ply"
    yield "viewer: bad end", [*out, "--viewer", "s.htm"], 2, "must end in .html"
    yield "viewer: no size", [*out, "--viewer", "s.html", "--viewer-size", "0"], 2, "--viewer-size takes a number"
    yield "cloud: no folder of that name", [*out, "--ply", "50%/c.ply"], 7, "50%"
    yield "cloud in the scene without a scene", [*out, "--usd-cloud"], 2, "--usd"
    yield "two reports of one name", [*out, "--cameras", "./", "--report", "./"], 2, "--report"
    for flag, name in (("--usd", "s.usda"), ("--cameras", "s.json"), ("--ply", "s.ply"), ("--viewer", "s.html")):
        yield f"{flag}: no folder", [*out, flag, "none/" + name], 7, "none"
        yield f"{flag}: sam alone", [SMALL, "--point", "240,180", "--stop-after", "sam", "--mask-out", "m.png", flag,
                                     name], 2, f"leave out {flag}"


finish([the_scene_has_the_results_times, the_scene_has_the_results_points, the_scenes_camera_sees_the_tracks,
        the_scene_holds_the_first_frame_when_asked, a_stride_slows_the_scene, cameras_are_the_results,
        a_chan_has_a_line_a_frame, the_cloud_has_the_results_tracks, the_cloud_lies_on_the_depths,
        the_front_alone_gives_cameras_and_a_cloud, names_in_a_folder_are_the_videos, what_exists_is_kept_with_n,
        no_input_is_replaced, an_interrupted_run_leaves_nothing, a_full_device_is_an_error, exports_stream_into_a_fifo],
       bad_cases())
