#!/usr/bin/env python3
"""A finished result in a video's place: what is written from it, and what is refused. Prints TAP."""
import csv
import io
import json
import os
import resource
import shutil
import subprocess
import zipfile

from arrays import npy, read_npz, write_npz
from program import (BALL, ENVIRONMENT, FAST, SPATRACK, clip, ffmpeg, finish, good, path, place, read, refused,
                     report_of, run, test_clip, write)
from tap import skip_when_sanitized

WIDTH, HEIGHT = 480, 360  # of the ball's clip
EXPORTS = {"--usd": "s.usda", "--ply": "c.ply", "--cameras": "c.json"}


def asked(folder, names=EXPORTS):
    """The flags that write these files into a folder."""
    return [word for flag, name in names.items() for word in (flag, os.path.join(folder, name))]


def ball():
    """The folder of a run of every second frame, with all that it can write beside its result."""
    folder = path("ball")
    if not os.path.exists(folder):
        place("ball")
        flags = [*FAST, "--grid", 3, "--start", 0.1, "--stride", 2, "--scale-to", 3]
        good(BALL, *flags, "-o", "ball/r.npz", *asked("ball"), "--usd-cloud", "--overlay", "ball/o.mp4")
        good(BALL, *flags, "-o", "ball/t.csv", "--cameras", "ball/c.chan", "--overlay", "ball/o.png")
    return folder


def same(one, two):
    assert read(one) == read(two), (one, two)


# What is written ---------------------------------------------------------------------------------

def a_result_gives_what_its_run_gave():
    ball()
    place("again")
    done = good("ball/r.npz", "-o", "again/r.npz", *asked("again"), "--usd-cloud", "--overlay", "again/o.mp4",
                "--video", BALL)
    assert "ball/r.npz: 3 frames, 9 tracks" in done.stderr and "lite" not in done.stderr, done.stderr
    good("ball/r.npz", "-o", "again/t.csv", "--cameras", "again/c.chan", "--overlay", "again/o.png", "--video", BALL)
    for name in ("r.npz", "s.usda", "c.ply", "c.json", "o.mp4", "t.csv", "c.chan", "o.png"):
        same(f"ball/{name}", f"again/{name}")


def objects_and_cut_frames_come_through():
    """A portrait clip, whose frames are cropped to squares, and objects with names."""
    name = clip("tall.mp4", "-i", BALL, "-vf", "transpose=1,scale=240:400", "-frames:v", "3", "-c:v", "libx264",
                "-pix_fmt", "yuv420p")
    place("tall")
    good(name, *FAST, "--grid", 8, "--point", "cup=120,200", "--box", "b=20,80,200,300", "-o", "tall/r.npz", *asked("tall"),
         "--overlay", "tall/o.mp4")
    a = read_npz(path("tall/r.npz"))
    assert a["object_names"].values == ["cup", "b"] and a["saved_size"].values == (256, 256)
    place("tall2")
    good("tall/r.npz", "-o", "tall2/r.npz", *asked("tall2"), "--overlay", "tall2/o.mp4", "--video", name)
    for file in os.listdir(path("tall")):
        same(f"tall/{file}", f"tall2/{file}")
    good("tall/r.npz", "--overlay", "tall2/own.mp4", "--trail", 0)
    frame = frames("tall2/own.mp4", 256, 256)[0]
    marks = [(x * 256 / 240, (y - 80) * 256 / 240) for x, y in pairs(a["tracks2d"].values[:2 * len(a["dynamic"].values)])]
    seen = [p for p, v in zip(marks, a["visibs"].values) if v > 0.5 and 4 < p[0] < 252 and 4 < p[1] < 252]
    saved = a["video"].values
    for x, y in seen[:4]:
        at = round(y) * 256 + round(x)
        was = [255 * saved[c * 256 * 256 + at] for c in range(3)]
        assert max(abs(frame[3 * at + c] - was[c]) for c in range(3)) > 40, (x, y)
    assert len(seen) > 1


def pairs(values):
    return list(zip(values[::2], values[1::2]))


def frames(name, width, height):
    """The RGB bytes of each frame; fails where they are of another size."""
    data = ffmpeg("-i", name, "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    info = ffmpeg("-i", name, "-frames:v", "1", "-f", "image2pipe", "-c:v", "ppm", "-")
    assert info.split(b"\n", 2)[1] == f"{width} {height}".encode(), info[:20]
    size = 3 * width * height
    return [data[i:i + size] for i in range(0, len(data), size)]


def the_overlay_is_drawn_on_the_results_own_frames():
    ball()
    good("ball/r.npz", "--overlay", "own.mp4", "--trail", 0)
    a = read_npz(path("ball/r.npz"))
    h, w = a["depths"].shape[1:]
    shown = frames("own.mp4", w, h)
    assert len(shown) == 3
    x, y = a["tracks2d"].values[8] * w / WIDTH, a["tracks2d"].values[9] * h / HEIGHT  # the middle one
    differing = [abs(shown[0][3 * i + c] - 255 * a["video"].values[c * h * w + i]) > 60
                 for i in range(h * w) for c in range(3)]
    near = [differing[3 * (round(y + dy) * w + round(x + dx)) + 1] for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    assert any(near) and sum(differing) < 0.05 * len(differing), (near, sum(differing))
    good("ball/r.npz", "--overlay", "own.png")


def no_model_is_opened():
    """Weights that are not there end a run, and do not concern a result."""
    ball()
    nothing = {**ENVIRONMENT, "SPATRACK_WEIGHTS": path("nowhere")}
    assert run(BALL, *FAST, "-o", "x.npz", env=nothing).returncode == 4
    good("ball/r.npz", "--usd", "weightless.usda", "--report", "weightless.json", env=nothing)
    report = report_of("weightless.json")
    assert report["device"] is None and report["weights"] is None and report["cache"] == []
    assert [stage["name"] for stage in report["stages"]] == ["reading", "exports"]
    assert report["input"]["path"] == "ball/r.npz" and report["input"]["rate"] == 6
    assert report["settings"]["stride"] == 2 and report["input"]["used_frames"] == 3


def a_plan_is_the_memory_of_the_result():
    ball()
    text = good("ball/r.npz", "--plan", "--ply", "c.ply").stdout
    assert "finished result, 3 frames of 256x192, 9 points; no model runs" in text, text
    plan = json.loads(good("ball/r.npz", "--plan", "--json", "--usd", "s.usda", "--usd-cloud").stdout)
    more = json.loads(good("ball/r.npz", "--plan", "--json", "--ply", "c.ply").stdout)
    less = json.loads(good("ball/r.npz", "--plan", "--json", "--usd", "s.usda").stdout)
    assert plan["fits"] and plan["stages"] == [] and plan["points"] == 9
    pixels = 3 * 256 * 192 * 4
    assert 0 < plan["peak_host_bytes"] - 5 * pixels < 10000, plan
    assert 0 < less["peak_host_bytes"] - 2 * pixels < 10000, less
    assert more["peak_host_bytes"] > 2 * plan["peak_host_bytes"], more  # what the cloud is made in counts
    json.loads(good("ball/r.npz", "--plan", "--json").stdout)
    assert not os.path.exists(path("c.ply"))


def a_result_is_trimmed():
    ball()
    whole = read_npz(path("ball/r.npz"))
    good("ball/r.npz", "-o", "trimmed.npz", "--omit", "video,depths")
    trimmed = read_npz(path("trimmed.npz"))
    assert {**trimmed, "video": whole["video"], "depths": whole["depths"]} == whole
    good("trimmed.npz", "-o", "trimmed2.npz")  # what is not there is not made up
    same("trimmed.npz", "trimmed2.npz")
    good("ball/r.npz", "-o", "stored.npz", "--no-compress")
    assert read_npz(path("stored.npz")) == whole
    assert os.path.getsize(path("stored.npz")) > os.path.getsize(path("ball/r.npz"))
    good("ball/r.npz", "-o", "small.npz", "--max-side", 64)
    small = read_npz(path("small.npz"))
    assert small["depths"].shape == (3, 48, 64) and small["saved_size"].values == (64, 48)
    assert small["coords"] == whole["coords"] and small["size"] == whole["size"]
    done = run("ball/r.npz", "-o", "-", "--format", "csv")
    assert done.stdout == read("ball/t.csv").decode()


def small_maps_still_give_what_needs_none():
    """Of a result whose maps were reduced, cameras and tracks are as in the run."""
    ball()
    good("ball/r.npz", "-o", "reduced.npz", "--max-side", 64)
    place("reduced")
    good("reduced.npz", *asked("reduced"), "-o", "reduced/t.csv", "--overlay", "reduced/o.mp4", "--video", BALL)
    for name in ("c.json", "t.csv", "o.mp4"):
        same(f"ball/{name}", f"reduced/{name}")
    ours, theirs = read("ball/s.usda").decode(), read("reduced/s.usda").decode()
    for attribute in ("point3f[] points.timeSamples", "matrix4d xformOp:transform", "float focalLength"):
        begin, end = (text.index(attribute) for text in (ours, theirs))
        assert ours[begin:ours.index("}", begin)] == theirs[end:theirs.index("}", end)]


def chunks_of_the_front_stay():
    good(BALL, "--stop-after", "front", "--max-frames", 5, "--front-chunk", 3, "--scale-by", 1.7, "-o", "chunks.npz")
    assert read_npz(path("chunks.npz"))["chunks"].values == (0, 2)
    good("chunks.npz", "-o", "chunks2.npz")
    same("chunks.npz", "chunks2.npz")


def a_front_alone_is_a_result():
    good(BALL, "--stop-after", "front", "--max-frames", 2, "-o", "front.npz", "--ply", "front.ply", "--usd",
         "front.usda")
    good("front.npz", "--ply", "front2.ply", "--usd", "front2.usda", "--cameras", "front2.json")
    same("front.ply", "front2.ply")
    same("front.usda", "front2.usda")
    refused(3, "front.npz has no coords, which o.mp4 is written from", "front.npz", "--overlay", "o.mp4")


def long_results_take_a_moment():
    """80 frames, everything; processor time, as others may be using the machine."""
    skip_when_sanitized(SPATRACK)
    frames, tracks, pixels = 80, 400, 192 * 256
    pose, k = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1], [250, 0, 128, 0, 250, 96, 0, 0, 1]
    points = [v for n in range(tracks) for v in ((n % 20 - 10) / 12, n / tracks - 0.5, 2)]
    with zipfile.ZipFile(path("long.npz"), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, shape, row in (("coords", (tracks, 3), points), ("visibs", (tracks, 1), [1] * tracks),
                                 ("extrinsics", (4, 4), pose), ("intrinsics", (3, 3), k),
                                 ("depths", (192, 256), [2 + i % 7 / 100 for i in range(pixels)]),
                                 ("video", (3, 192, 256), [i % 251 / 251 for i in range(3 * pixels)])):
            data = npy((1, *shape), row)[-4 * len(row):]
            archive.writestr(name + ".npy", npy((frames, *shape), []) + frames * data)
    place("long")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    good("long.npz", *asked("long"), "--usd-cloud", "-o", "long/t.csv", "--overlay", "long/o.mp4")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert len(rows_of("long/t.csv")) == frames * tracks
    assert seconds < 5, seconds


# Other programs' results -------------------------------------------------------------------------

T, N, H, W = 3, 4, 6, 8


def foreign(name, compression=zipfile.ZIP_STORED, **changes):
    """With the keys of the predecessor's script; a camera that moves by 1 a frame to the right."""
    pose = [[1, 0, 0, -t, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1] for t in range(T)]
    points = [[n - 1, 0.5, 2 + n] for n in range(N)]
    arrays = {"coords": ((T, N, 3), [v for _ in range(T) for p in points for v in p], "<f4"),
              "visibs": ((T, N, 1), [True, True, False, True] * T, "|b1"),
              "extrinsics": ((T, 4, 4), sum(pose, []), "<f8"),
              "intrinsics": ((T, 3, 3), [4, 0, 4, 0, 4, 3, 0, 0, 1] * T, "<f2"),
              "depths": ((T, H, W), [2.0] * (T * H * W), "<f2"),
              "unc_metric": ((T, H, W), [1.0] * (T * H * W), "<f2"),
              "video": ((T, 3, H, W), [0.25] * (T * 3 * H * W), "<f2")}
    arrays.update(changes)
    with zipfile.ZipFile(path(name), "w", compression) as archive:
        for key, array in arrays.items():
            if array:
                archive.writestr(key + ".npy", npy(*array))
    return name


def rows_of(name):
    return list(csv.DictReader(io.StringIO(read(name).decode())))


def the_predecessors_keys_are_enough():
    for number, more in enumerate((
            {}, {"compression": zipfile.ZIP_DEFLATED},
            {"video": ((T, 3, H, W), [64] * (T * 3 * H * W), "|u1")},
            {"video": ((T, H, W, 3), [64] * (T * 3 * H * W), "|u1")},
            {"video": ((T, 3, H, W), [64.0] * (T * 3 * H * W), "<f8"), "unc_metric": None},
            {"extrinsics": ((1, T, 3, 4), sum(([1, 0, 0, -t, 0, 1, 0, 0, 0, 0, 1, 0] for t in range(T)), []),
                            ">f4")})):
        name, folder = foreign(f"foreign{number}.npz", **more), f"foreign{number}"
        place(folder)
        good(name, "-o", f"{folder}/t.csv", *asked(folder), "--usd-cloud", "--overlay", f"{folder}/o.mp4",
             "--cameras", f"{folder}/c.json")
        found = rows_of(f"{folder}/t.csv")
        assert len(found) == T * N
        for row in found:  # seen by the camera: 4 X / Z + 4
            t, n = int(row["frame"]), int(row["track"])
            assert abs(float(row["x"]) - (4 * (n - 1 - t) / (2 + n) + 4)) < 1e-5, row
            assert row["visible"] == str(int(n != 2)) and row["confidence"] == "1"
            assert abs(float(row["time"]) - t / 30) < 1e-9
        cameras = json.loads(read(f"{folder}/c.json"))
        assert cameras["rate"] == 30 and cameras["size"] == [W, H] and cameras["scale"] == 1
        assert [frame["c2w"][0][3] for frame in cameras["frames"]] == [0, 1, 2]
        ply = read(f"{folder}/c.ply")
        assert b"element vertex" in ply and b"\x40\x40\x40" in ply  # 64 of 255
        assert len(frames(f"{folder}/o.mp4", W, H)) == T
        same(f"{folder}/s.usda", "foreign0/s.usda")
        good(name, "-o", f"{folder}/ours.npz")
        ours = read_npz(path(f"{folder}/ours.npz"))
        assert json.loads(ours["version"].values)["program"].startswith("spatrack ")
        good(f"{folder}/ours.npz", "-o", f"{folder}/t2.csv")
        same(f"{folder}/t.csv", f"{folder}/t2.csv")


def a_foreign_result_is_drawn_on_its_video():
    """Which is larger: points grow with it. Its rate and, with --stride, its frames count."""
    name = foreign("big.npz")
    video = test_clip("big.mp4", size="96x72", frames=5)
    good(name, "--overlay", "big-o.mp4", "--video", video, "--stride", 2, "--cameras", "big.json", "-o", "big.csv")
    assert len(frames("big-o.mp4", 96, 72)) == T
    cameras = json.loads(read("big.json"))
    assert cameras["rate"] == 2.5 and cameras["size"] == [96, 72] and cameras["frames"][0]["K"][0][0] == 48
    row = rows_of("big.csv")[0]
    assert abs(float(row["x"]) - 96 / W * 2) < 1e-4, row
    refused(3, "big.mp4 has 5 frames; big.npz is of one with at least 7", name, "--overlay", "x.mp4", "--video",
            video, "--stride", 3)
    refused(3, "which a video of 72x96 does not give", name, "--overlay", "x.mp4", "--video",
            test_clip("upright.mp4", size="72x96"))


def what_is_missing_is_told_before_any_work():
    for array, flag, file, message in (
            ("coords", "-o", "x.csv", "no coords, which x.csv"),
            ("coords", "-o", "x.npz", "no coords, which x.npz"),
            ("coords", "--overlay", "x.mp4", "no coords, which x.mp4"),
            ("extrinsics", "--cameras", "x.json", "no extrinsics and intrinsics, which x.json"),
            ("intrinsics", "--usd", "x.usda", "no extrinsics and intrinsics, which x.usda"),
            ("intrinsics", "--overlay", "x.mp4", "no tracks2d, which x.mp4"),
            ("depths", "--ply", "x.ply", "no depths, which x.ply"),
            ("video", "--ply", "x.ply", "no video, which x.ply"),
            ("video", "--overlay", "x.png", "no video, which x.png")):
        more = {"unc_metric": None} if array == "depths" else {}
        refused(3, message, foreign("lacking.npz", **{array: None}, **more), flag, file)
    lacking = foreign("lacking.npz", depths=None, unc_metric=None, video=None)
    refused(3, "no depths, video, which", lacking, "--usd", "x.usda", "--usd-cloud")
    good(lacking, "--usd", "lacking.usda", "-o", "lacking.csv", "--cameras", "lacking.json")


# Which file it is --------------------------------------------------------------------------------

def content_tells_a_result():
    ball()
    shutil.copy(path("ball/r.npz"), path("result.mp4"))
    good("result.mp4", "--cameras", "content.json")
    same("content.json", "ball/c.json")
    refused(2, "result.mp4 is a finished result; say what to write", "result.mp4")
    with zipfile.ZipFile(path("other.zip"), "w") as archive:
        archive.writestr("readme.txt", "no arrays")
    write_npz(path("nothing.npz"), points=((2,), [1, 2]))
    write("text.npz", "no archive")
    for name in ("other.zip", "nothing.npz"):
        refused(3, f"{name} is no result", name, "--usd", "x.usda")
    refused(3, "text.npz: not a video", "text.npz", "-o", "x.npz")
    for flags in ([], ["--usd", "x.usda"]):
        refused(3, "none.npz: No such file", "none.npz", *flags)


def damaged_results_are_told():
    ball()
    whole = read("ball/r.npz")
    for size in (4, 100, len(whole) // 2, len(whole) - 1):
        write("cut.npz", whole[:size])
        refused(3, "cut.npz: ", "cut.npz", "--usd", "x.usda")
    middle = len(whole) // 2
    write("flipped.npz", whole[:middle] + bytes(b ^ 0xff for b in whole[middle:middle + 64]) + whole[middle + 64:])
    refused(3, "flipped.npz: array ", "flipped.npz", "--ply", "x.ply")
    huge = npy((10**6, 10**6, 3), [1.0] * 12)
    with zipfile.ZipFile(path("huge.npz"), "w") as archive:
        archive.writestr("coords.npy", huge)
    refused(3, "array coords has more than 16 GiB", "huge.npz", "--usd", "x.usda")
    for name, changes, message in (
            ("frames", {"visibs": ((T + 1, N, 1), [True] * ((T + 1) * N), "|b1")}, "array visibs is for 4 frames"),
            ("not-finite", {"extrinsics": ((T, 4, 4), [float("nan")] * (16 * T), "<f4")}, "array extrinsics holds"),
            ("shape", {"depths": ((T, H), [1.0] * (T * H))}, "array depths: expected shape *,*,*, found 3,6"),
            ("text", {"coords": ((T, N, 3), [1] * (T * N * 3), "|u1"), "queries": ((N, 3), [9.0] * (3 * N))},
             "array queries starts a track at no frame")):
        refused(3, message, foreign(f"bad-{name}.npz", **changes), "--usd", "x.usda")


def a_video_that_is_not_the_results_is_refused():
    ball()
    for name, more, message in (("other-size.mp4", ("-vf", "scale=240:180"), "is of a video of 480x360, not 240x180"),
                                ("short.mp4", ("-frames:v", "3"), "short.mp4 has 3 frames"),
                                ("faster.mp4", ("-vf", "setpts=0.8*PTS", "-r", "15"), "are not those of ball/r.npz")):
        video = clip(name, "-i", BALL, *more, "-c:v", "libx264", "-pix_fmt", "yuv420p")
        refused(3, message, "ball/r.npz", "--overlay", "x.mp4", "--video", video)
    refused(3, "ball/r.npz: not a video", "ball/r.npz", "--overlay", "x.mp4", "--video", "ball/r.npz")
    refused(3, "none.mp4: No such file", "ball/r.npz", "--overlay", "x.mp4", "--video", "none.mp4")
    with open(BALL, "rb") as pipe:
        good("ball/r.npz", "--overlay", "piped.mp4", "--video", "-", stdin=pipe)
    same("piped.mp4", "ball/o.mp4")
    good("ball/r.npz", "--colmap", "model", "--video", BALL)
    with subprocess.Popen(["cat", BALL], stdout=subprocess.PIPE) as cat:  # which cannot be read twice
        good("ball/r.npz", "--colmap", "piped-model", "--video", "-", stdin=cat.stdout)
    models = [{os.path.relpath(os.path.join(folder, name), path(model)): read(os.path.join(folder, name))
               for folder, _, names in os.walk(path(model)) for name in names} for model in ("model", "piped-model")]
    assert models[0] == models[1] and "sparse/0/images.txt" in models[0], [sorted(model) for model in models]


# Several -----------------------------------------------------------------------------------------

def several_are_one_after_another():
    ball()
    os.makedirs(path("many"))
    for name in ("a.npz", "b.npz"):
        shutil.copy(path("ball/r.npz"), path("many", name))
    shutil.copy(BALL, path("many/c.mp4"))
    place("out")
    good("many/a.npz", "many/b.npz", "--usd", "out/", "--cameras", "out/", "-o", "out/")
    assert sorted(os.listdir(path("out"))) == ["a.json", "a.npz", "a.usda", "b.json", "b.npz", "b.usda"]
    same("out/b.npz", "ball/r.npz")
    same("out/a.json", "ball/c.json")
    place("mixed")
    done = good("many/a.npz", "many/c.mp4", *FAST, "--cameras", "mixed/", "--stride", 2, "--omit", "video")
    assert sorted(os.listdir(path("mixed"))) == ["a.json", "c.json"] and os.path.exists(path("many/c.npz"))
    assert "many/a.npz: 3 frames" in done.stderr
    write("many/bad.npz", "PK\3\4, and no more")
    done = run("many/bad.npz", "many/a.npz", "--usd", "mixed/")
    assert done.returncode == 1 and "1 of 2 videos failed" in done.stderr and os.path.exists(path("mixed/a.usda"))
    refused(2, "the results of two videos", "many/a.npz", "ball/../many/a.npz", "--usd", "mixed/")
    refused(2, "--overlay works with a single video", "many/a.npz", "many/b.npz", "--overlay", "x.mp4")
    refused(2, "--video works with a single video", "many/a.npz", "many/b.npz", "--usd", "mixed/", "--video", BALL)
    refused(2, "several videos: --usd takes a folder", "many/a.npz", "many/b.npz", "--usd", "x.usda")


def no_result_is_written_over():
    ball()
    for flags in (("-o", "ball/"), ("-o", "ball/r.npz"), ("-o", "ball/../ball/r.npz")):
        refused(2, "r.npz: -o would replace the video", "ball/r.npz", *flags)
    os.link(path("ball/r.npz"), path("hard.npz"))
    refused(2, "hard.npz: -o would replace", "ball/r.npz", "-o", "hard.npz")
    shutil.copy(BALL, path("ball/r.mp4"))
    refused(2, "r.npz: -o would replace the video", "ball/r.mp4", "ball/r.npz", *FAST, "--usd", "scenes/")
    shutil.copy(BALL, path("o.mp4"))
    refused(2, "o.mp4: --overlay would replace the video (--video)", "ball/r.npz", "--overlay", "o.mp4", "--video",
            "o.mp4")
    place("pictures")
    ffmpeg("-i", BALL, "-frames:v", "8", "pictures/%d.png")
    refused(2, "become one of the video's images", "ball/r.npz", "--overlay", "pictures/o.png", "--video",
            "pictures")


def an_output_that_is_there_stays():
    ball()
    write("there.usda", "mine")
    refused(7, "there.usda exists", "ball/r.npz", "--usd", "there.usda", "-n")
    refused(7, "cannot write", "ball/r.npz", "--usd", "no/folder.usda")
    place("folder")
    write("folder/r.usda", "mine")
    refused(7, "was not written by spatrack", "ball/r.npz", "--usd", "folder/")


def bad_cases():
    ball()
    result = path("ball/r.npz")
    usd = ["--usd", path("x.usda")]
    for flags in (["--grid", 4], ["--queries", "q.csv"], ["--mask", "m.png"], ["--point", "1,1"], ["--box", "1,1,2,2"],
                  ["--mode", "online"], ["--weights", "w"], ["--device", "cpu"], ["--refine", "off"],
                  ["--fixed-camera"], ["--start", 1], ["--max-frames", 2], ["--portrait", "fit"], ["--iters", 1],
                  ["--geometry", "g.npz"], ["--scale-to", 2], ["--stop-after", "front"], ["--threads", 1],
                  ["--dump", "d"], ["--mask-out", "m.png"], ["--vram-budget", "1G"], ["--sleep-after", "video"],
                  ["--sleep-level", 2], ["--weight-mode", "resident"], ["--precision", "f32"], ["--seed", 1]):
        yield flags[0], [result, *usd, *flags], 2, f"is not computed again; leave out {flags[0]}"
    yield "nothing to write", [result], 2, "is a finished result; say what to write from it"
    yield "--stride alone", [result, *usd, "--stride", 2], 2, "--stride is about the video of a result"
    yield "--stream alone", [result, *usd, "--stream", 1], 2, "--stream is about the video of a result"
    yield "--stride of a known one", [result, "--overlay", path("x.mp4"), "--video", BALL, "--stride", 2], 2, \
        "says which frames it is of; leave out --stride"
    yield "--video for nothing", [result, *usd, "--video", BALL], 2, "--video gives the frames of --overlay"
    yield "--video with a video", [BALL, "--video", BALL], 2, "--video goes with a finished result"
    yield "--omit for nothing", [result, *usd, "--omit", "video"], 2, "--omit is about an .npz"
    yield "--omit of a table", [result, "-o", path("x.csv"), "--omit", "video"], 2, "--omit is about an .npz"
    yield "--omit of nothing there is", [result, "-o", path("x.npz"), "--omit", "vid"], 2, "--omit takes arrays"
    yield "--max-side for nothing", [result, *usd, "--max-side", 100], 2, "--max-side is about an .npz"
    yield "--no-compress for nothing", [result, *usd, "--no-compress"], 2, "--no-compress is about an .npz"
    yield "--usd-cloud alone", [result, "-o", path("x.npz"), "--usd-cloud"], 2, "--usd-cloud goes into the scene"
    yield "--json alone", [result, *usd, "--json"], 2, "--json goes with"


finish([a_result_gives_what_its_run_gave, objects_and_cut_frames_come_through,
        the_overlay_is_drawn_on_the_results_own_frames, no_model_is_opened, a_plan_is_the_memory_of_the_result,
        a_result_is_trimmed, small_maps_still_give_what_needs_none, chunks_of_the_front_stay,
        a_front_alone_is_a_result, long_results_take_a_moment,
        the_predecessors_keys_are_enough, a_foreign_result_is_drawn_on_its_video,
        what_is_missing_is_told_before_any_work, content_tells_a_result, damaged_results_are_told,
        a_video_that_is_not_the_results_is_refused, several_are_one_after_another, no_result_is_written_over,
        an_output_that_is_there_stays], bad_cases())
