#!/usr/bin/env python3
"""Bad input to the real program: one line, an exit code, nothing lost. Prints TAP."""
import json
import os
import random
import shutil
import struct

from arrays import write_png
from program import (BALL, FAST, ROOT, TEMPORARY, built_in, clip, ffmpeg, finish, geometry, place, read,
                     test_clip, write)


def changed(name, shape, values, at, value):
    values = list(values)
    values[at] = value
    return {name: (shape, values)}


def bad_cases():
    """(name, arguments, exit code, piece of the message) of runs that must fail."""
    folder = place("bad")

    def at(name):
        return os.path.join(folder, name)

    def file(name, data):
        return write(at(name), data)

    ball = read(BALL)
    noise = random.Random(1).randbytes(20000)
    out = ["-o", file("old.npz", "an old result")]
    yield "no video", out, 2, "no video given"
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
    yield "a name that a terminal would obey", [at("a\nb\x1b[2J\x9b.mp4"), *out], 3, "a?b?[2J?.mp4: No such"
    yield "list: no end of an entry", ["--list", "/dev/zero", "-o", place("all") + "/"], 3, "an entry of more than"
    yield "text called mp4", [file("text.mp4", "hello\n" * 50), *out], 3, "text.mp4"
    yield "noise called mp4", [file("noise.mp4", noise), *out], 3, "noise.mp4"
    for share in (10, 100, 1000, 5000):
        yield f"mp4 cut after {share}", [file("cut.mp4", ball[:share]), *out], 3, "cut.mp4"
    yield "folder without images", [place("bad/empty"), *out], 3, "without images"
    yield "pattern without images", [at("f%03d.png"), *out], 3, "no image has a name of this pattern"
    yield "playlist", [file("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n" + BALL +
                            "\n#EXT-X-ENDLIST\n"), *out], 3, "list.m3u8"
    yield "start beyond the end", [BALL, "--start", 99, *out], 3, "ends before --start 99"
    if shutil.which("ffmpeg"):
        yield "audio only", [clip("sound.m4a", "-f", "lavfi", "-i", "sine=d=1"), *out], 3, \
            "no video stream"
        yield "very wide", [test_clip("broad.mkv", "2000x8", 2, "-c:v", "ffv1"), *out], 3, "narrow"
        images = place("bad-images")
        write_png(os.path.join(place("tiny"), "0.png"), 1, [b"d"])
        yield "one pixel", [os.path.join(TEMPORARY, "tiny"), *out], 3, "1x1 are too small"
        ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x48", "-frames:v", "2", "bad-images/a%d.png")
        ffmpeg("-f", "lavfi", "-i", "testsrc=s=32x48", "-frames:v", "1", "bad-images/b.png")
        yield "images of two sizes", [images, *out], 3, "b.png: 32x48"

    for name, text, message in (
            ("empty", "", "no queries"), ("heading only", "t,x,y\n", "no queries"),
            ("words", "t,x,y\n0,1,2\nzero,one,two\n", "q.csv:3:"), ("two numbers", "0,1\n", ":1:"),
            ("off the frame", "0,480,10\n", "q.csv:1: x is 480"), ("above", "0,1,-0.6\n", "y is"),
            ("beyond the clip", "# c\n24,1,1\n", "q.csv:2: t is 24"), ("nan", "0,nan,1\n", ":1:"),
            ("half a frame", "0.5,1,1\n", "t is 0.5"), ("noise", noise, "q.csv:")):
        yield f"queries: {name}", [BALL, "--queries", file("q.csv", text), *out], 2, message
    yield "queries: missing", [BALL, "--queries", at("none.csv"), *out], 3, "none.csv"

    yield "mask: missing", [BALL, "--mask", at("none.png"), *out], 3, "none.png"
    yield "mask: no PNG", [BALL, "--mask", BALL, *out], 3, "not a PNG"
    write_png(at("black.png"), 480, [bytes(480)] * 360)
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
        "not a rotation"
    yield "geometry: mirrored pose", given(**changed("extrinsics", (2, 4, 4), pose, 16, -1)), 3, \
        "frame 1 is not a rotation"

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
        weights = built_in(place("bad-weights-" + name.replace(" ", "-")), "front", change, config)
        yield f"weights: {name}", [BALL, "--weights", weights, *out], 4, message
    own = json.loads(json.loads(read(os.path.join(ROOT, "src/lite/front.safetensors"))[8:8 + header])
                     ["__metadata__"]["config"])
    for name, key, value, code, message in (
            ("absurd frames", "img_size", 1 << 19, 5, "not enough memory for the clip's frames"),
            ("absurd heads", "agg_num_heads", 1 << 20, 4, "heads do not divide the width"),
            ("negative patches", "img_size", -16, 4, "img_size is not a number from 1"),
            ("half a head", "agg_num_heads", 1.5, 4, "agg_num_heads is not a whole number"),
            ("half a layer", "dpt_layers", [0, 0.5, 1, 1], 4, "dpt_layers is not a list of 4 whole numbers"),
            ("endless rounds", "cam_iterations", 1 << 20, 4, "cam_iterations is not a number from 1 to 64")):
        weights = built_in(place("bad-weights-" + name.replace(" ", "-")), "front",
                           config=json.dumps({**own, key: value}))
        yield f"weights: {name}", [BALL, "--weights", weights, "--stop-after", "front", *out], code, message

    for flag in ("queries", "mask", "geometry"):
        yield f"{flag}: a device without end", [BALL, f"--{flag}", "/dev/zero", *out], 2 if flag == "queries" else 3, \
            "/dev/zero"
    yield "video: a device without end", ["/dev/zero", *out], 3, "/dev/zero: not a video"
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


finish([], bad_cases())
