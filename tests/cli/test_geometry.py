#!/usr/bin/env python3
"""Geometry as other programs write it, cameras and units that are known, and pixels of which image.
Prints TAP."""
import json
import math

from arrays import read_npz, write_npz
from program import BALL, FAST, finish, good, path, read, test_clip, write

T, H, W = 2, 6, 8
SHORT = ["--max-frames", T, *FAST[2:]]
CLIP = None  # once made
ONES = [1.0 + (i % 7) / 4 for i in range(T * H * W)]
WHOLE = [1 + i % 7 for i in range(T * H * W)]
K = [9, 0, 4, 0, 9, 3, 0, 0, 1]
POSE = [1, 0, 0, 0.5, 0, 1, 0, 0, 0, 0, 1, 0.25]
STILL = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]
LAST = [0, 0, 0, 1]
PLAIN = {"depths": ((T, H, W), ONES), "intrinsics": ((T, 3, 3), K * T),
         "extrinsics": ((T, 4, 4), STILL + LAST + POSE + LAST)}
NAN, INF = float("nan"), float("inf")


def tracked(name, arrays, *more):
    """The result's arrays for a geometry file of those."""
    write_npz(path(name + ".in.npz"), **{k: v for k, v in arrays.items() if v})
    good(CLIP, "--geometry", name + ".in.npz", "-o", name + ".npz", "--fixed-camera", *SHORT, *more)
    return {k: v.values for k, v in read_npz(path(name + ".npz")).items() if k != "version"}


def same(name, **changes):
    """That the file says the same as the plain one."""
    found = tracked(name, {**PLAIN, **changes})
    assert found == expected(), [k for k in found if found[k] != expected()[k]]


def expected(kept=[]):
    if not kept:
        kept.append(tracked("plain", PLAIN))
    return kept[0]


def near(a, b, tolerance=1e-5):
    return len(a) == len(b) and all(abs(x - y) <= tolerance * max(1, abs(y)) for x, y in zip(a, b))


# Forms of a geometry file ------------------------------------------------------------------------

def one_matrix_stands_for_all_frames():
    same("k33", intrinsics=((3, 3), K))
    same("k133", intrinsics=((1, 3, 3), K))
    same("kt133", intrinsics=((T, 1, 3, 3), K * T))
    same("k44", intrinsics=((4, 4), K[:3] + [0] + K[3:6] + [0] + K[6:] + [0, 0, 0, 0, 1]))
    still = tracked("still", {**PLAIN, "extrinsics": ((4, 4), POSE + LAST)})
    assert near(still["extrinsics"], (STILL + LAST) * T)


def poses_come_in_other_forms():
    same("t34", extrinsics=((T, 3, 4), STILL + POSE))
    same("1t34", extrinsics=((1, T, 3, 4), STILL + POSE))
    same("minus", extrinsics=((T, 4, 4), STILL + [-0.0, -0.0, 0, 1] + POSE + [0, -0.0, -0.0, 1]))
    same("rounded", extrinsics=((T, 4, 4), STILL + [1e-7, -5e-7, 0, 1 - 1e-7] + POSE + LAST))
    same("double", extrinsics=((T, 4, 4), STILL + LAST + POSE + LAST, "<f8"))


def depths_come_in_other_forms():
    same("channel", depths=((T, H, W, 1), ONES))
    same("channel_first", depths=((T, 1, H, W), ONES))
    same("batch", depths=((1, T, H, W, 1), ONES))
    same("confidence", confs_depth=((T, H, W, 1), [1] * (T * H * W), "|u1"))
    same("vggt", depths=None, intrinsics=None, extrinsics=None, depth=((T, H, W, 1), ONES),
         intrinsic=((T, 3, 3), K * T), extrinsic=((T, 3, 4), STILL + POSE))


def numbers_come_in_other_types():
    whole = tracked("whole", {**PLAIN, "depths": ((T, H, W), WHOLE)})
    for dtype in ("<u2", "<u4", "<u8", "|u1", "<i2", "<i4", "<i8", "<f2", "<f8", ">f4", ">u2", ">i8"):
        found = tracked("typed", {**PLAIN, "depths": ((T, H, W), WHOLE, dtype)})
        assert found == whole, dtype


def fortran_order_is_read():
    same("fortran_depth", depths=((T, H, W), ONES, "<f4", True))
    same("fortran_all", depths=((T, H, W, 1), ONES, ">f8", True), intrinsics=((T, 3, 3), K * T, "<f8", True),
         extrinsics=((T, 3, 4), STILL + POSE, "<f4", True))


def millimetres_track_like_metres():
    """The unit is the file's own, and large ones are no worse for the tracker."""
    metres = tracked("metres", {**PLAIN, "depths": ((T, H, W), WHOLE)})
    far = STILL[:], POSE[:]
    for pose in far:
        pose[3], pose[11] = 1024 * pose[3], 1024 * pose[11]
    large = tracked("large", {**PLAIN, "depths": ((T, H, W), [1024 * z for z in WHOLE], "<u2"),
                              "extrinsics": ((T, 3, 4), far[0] + far[1])})
    assert near(large["tracks2d"], metres["tracks2d"], 1e-4)
    assert near(large["depths"], [1024 * z for z in metres["depths"]])
    assert near(large["coords"], [1024 * x for x in metres["coords"]], 1e-4)
    assert large["scale"] == (1,)


def holes_are_no_depth():
    """0, negative, and what is not finite where the confidence says so."""
    hole = W + 3
    trusted = [0.0 if i == hole else 1.0 for i in range(T * H * W)]
    results = []
    for name, value in (("zero", 0), ("below", -1), ("nan", NAN), ("inf", INF)):
        depth = [value if i == hole else z for i, z in enumerate(ONES)]
        results.append(tracked(name, {**PLAIN, "depths": ((T, H, W), depth),
                                      "confs_depth": ((T, H, W), trusted)}))
    assert all(found == results[0] for found in results)
    assert 0 in results[0]["depths"] and 0 in results[0]["confs_depth"]
    depth = [0 if i == hole else z for i, z in enumerate(ONES)]
    assert tracked("alone", {**PLAIN, "depths": ((T, H, W), depth)}) == results[0]


def an_old_result_is_a_geometry():
    """One without what results have beside the geometry."""
    good(CLIP, "-o", "full.npz", *SHORT)
    full = read_npz(path("full.npz"))
    old = {k: (full[k].shape, full[k].values) for k in ("depths", "confs_depth", "intrinsics", "extrinsics")}
    write_npz(path("old.npz"), **old)
    for name in ("full", "old"):
        good(CLIP, "--geometry", name + ".npz", "-o", name + "-again.npz", *SHORT)
    a, b = (read_npz(path(name + "-again.npz")) for name in ("full", "old"))
    assert a["coords"].values == b["coords"].values


# What is known of the camera ---------------------------------------------------------------------

def known_intrinsics_are_kept():
    f = 240 / math.tan(math.radians(30))
    results = []
    for name, flags in (("fov", ["--fov", 60]), ("focal", ["--focal", f"{f:.9f}"]), ("front", ["--fov", 60])):
        more = ["--stop-after", "front", "--max-frames", 2] if name == "front" else SHORT + ["--vo-points", 80]
        good(BALL, *flags, "-o", name + ".npz", *more)
        a = read_npz(path(name + ".npz"))
        results.append(a)
        assert near(a["intrinsics_input"].values, [f, 0, 240, 0, f, 180, 0, 0, 1] * 2), name
        w, h = a["saved_size"].values
        scaled = [f * w / 480, 0, w / 2, 0, f * h / 360, h / 2, 0, 0, 1]
        assert near(a["intrinsics"].values, scaled * 2), name
    assert near(results[0]["coords"].values, results[1]["coords"].values, 1e-3)
    assert json.loads(results[0]["version"].values)["settings"]["fov"] == 60


def known_intrinsics_are_of_the_input():
    """Of a tall frame, cropped or fitted, and one that was reduced."""
    tall = test_clip("tall.mp4", "72x120", 2)
    for flags in ([], ["--portrait", "fit"], ["--max-input-side", 40], ["--max-side", 50]):
        good(tall, "--focal", 100, "-o", "tall.npz", "--stop-after", "front", *flags)
        a = read_npz(path("tall.npz"))
        assert a["size"].values == (72, 120), flags
        assert near(a["intrinsics_input"].values, [100, 0, 36, 0, 100, 60, 0, 0, 1] * 2), flags
        assert a["saved_size"].values == a["depths"].shape[:0:-1], flags


# The unit of the world ---------------------------------------------------------------------------

def scaled_alike(one, other, factor):
    poses = [x * (factor if i % 4 == 3 and i % 16 < 12 else 1) for i, x in enumerate(one["extrinsics"].values)]
    assert near(other["coords"].values, [factor * x for x in one["coords"].values], 1e-4)
    assert near(other["depths"].values, [factor * x for x in one["depths"].values])
    assert near(other["extrinsics"].values, poses, 1e-4)
    for name in ("tracks2d", "visibs", "intrinsics", "confs_depth", "video"):
        assert one[name].values == other[name].values, name


def the_unit_is_a_choice():
    good(CLIP, "-o", "one.npz", *SHORT)
    good(CLIP, "-o", "by.npz", "--scale-by", 2.5, *SHORT)
    good(CLIP, "-o", "to.npz", "--scale-to", 4, *SHORT)
    one, by, to = (read_npz(path(name + ".npz")) for name in ("one", "by", "to"))
    assert one["scale"].values == (1,) and by["scale"].values == (2.5,)
    scaled_alike(one, by, 2.5)
    scaled_alike(one, to, to["scale"].values[0])
    area = to["depths"].shape[1] * to["depths"].shape[2]
    first = sorted(to["depths"].values[:area])
    assert abs((first[(area - 1) // 2] + first[area // 2]) / 2 - 4) < 1e-4
    assert json.loads(to["version"].values)["settings"]["scale-to"] == 4


def the_unit_of_csv_front_and_geometry():
    for name, more in (("c1.csv", []), ("c3.csv", ["--scale-by", 3])):
        good(CLIP, "-o", name, *SHORT, *more)
    rows = [[line.split(",") for line in read(path(name)).decode().splitlines()[1:]] for name in ("c1.csv", "c3.csv")]
    for a, b in zip(*rows):
        assert a[:5] == b[:5] and near([float(v) for v in b[5:8]], [3 * float(v) for v in a[5:8]], 1e-4)
    good(CLIP, "-o", "f.npz", "--stop-after", "front", "--scale-to", 7, "--max-frames", 1)
    depths = sorted(read_npz(path("f.npz"))["depths"].values)
    assert abs(depths[len(depths) // 2] - 7) < 1e-2
    found = tracked("ten", PLAIN, "--scale-by", 10)
    assert near(found["coords"], [10 * x for x in expected()["coords"]], 1e-4)
    assert near(found["extrinsics"][19:20], [5]), found["extrinsics"]


# The edges of the frame --------------------------------------------------------------------------

def boxes_are_cut_to_the_frame():
    mask = ["--mask-out", "box.png", "--stop-after", "sam"]
    masks = []
    for box in ("0,0,480,360", "-0.5,-0.5,479.5,359.5", "-20,-7,4000,400", "+0,0,480,360"):
        good(BALL, "--box", box, *mask)
        masks.append(read(path("box.png")))
    assert masks[1] == masks[2] and masks[0] == masks[3]
    good(BALL, "--box", "all=0,0,480,360", "--box", "corner=400,300,500,400", *mask)


def points_on_the_edge_count():
    for point in ("479.5,359.5", "-0.5,-0.5", "-0.3,359.4", "479.4,0"):
        good(BALL, "--point", "240,180", "--point", point + ",-", "--mask-out", "point.png", "--stop-after", "sam")
    queries = write("edge.csv", "0,479.5,10\n0,-0.5,-0.5\n1,3,359.5\n0,-0.2,359.25\n")
    rest = ["--max-frames", T, "--vo-points", 20, "--iters", 1]
    good(BALL, "--queries", queries, "-o", "edge.npz", *rest)
    asked = [0, 479.5, 10, 0, -0.5, -0.5, 1, 3, 359.5, 0, -0.2, 359.25]
    assert near(read_npz(path("edge.npz"))["queries"].values, asked)
    small = test_clip("small.mp4", "32x32", 2)  # whose pixels are many of the working frame
    good(small, "--queries", write("small.csv", "0,-0.5,31.5\n1,31.5,-0.5\n"), "-o", "small.npz", *rest)
    assert all(math.isfinite(v) for v in read_npz(path("small.npz"))["coords"].values)


# What is refused ---------------------------------------------------------------------------------

def bad_cases():
    out = ["-o", "no.npz"]

    def given(name, **changes):
        write_npz(path(name + ".bad.npz"), **{k: v for k, v in {**PLAIN, **changes}.items() if v})
        return [CLIP, "--geometry", name + ".bad.npz", *out, *SHORT]
    flat = [0.0] * (T * H * W)
    yield "zeros alone", given("zeros", depths=((T, H, W), flat)), 3, "depths: no depth is above 0"
    yield "uint16 zeros", given("uzeros", depths=((T, H, W), [0] * len(flat), "<u2")), 3, "no depth is above 0"
    yield "nothing but holes", given("holes", depths=((T, H, W), [NAN] * len(flat)),
                                     confs_depth=((T, H, W), flat)), 3, "no depth is above 0"
    yield "a trusted nan", given("nan", depths=((T, H, W), [NAN] + ONES[1:]),
                                 confs_depth=((T, H, W), [1.0] * len(flat))), 3, "write 0 where there is no depth"
    yield "two channels", given("two", depths=((T, 2, H, W), ONES * 2)), 3, "expected shape T,h,w, found 2,2,6,8"
    yield "one map for two frames", given("map", depths=((H, W), ONES[:H * W])), 3, "expected shape T,h,w"
    yield "more frames", given("more", depths=((3, H, W), ONES + ONES[:H * W])), 3, "or cut it to them"
    yield "fewer frames", given("fewer", depths=((1, H, W), ONES[:H * W])), 3, "use --max-frames 1"
    yield "fewer poses", [*given("poses", extrinsics=((2, 3, 4), STILL * 2)), "--max-frames", 3], 3, \
        "for 2 frames, the clip has 3"
    yield "three matrices", given("three", intrinsics=((3, 3, 3), K * 3)), 3, "for 3 frames"
    yield "a last row", given("last", extrinsics=((T, 4, 4), (STILL + [0, 0, 0.1, 1]) * T)), 3, "last row 0 0 0 1"
    yield "focal lengths alone", given("vector", intrinsics=((T, 4), [9, 9, 4, 3] * T)), 3, "expected shape T,3,3"
    yield "K of 2 x 3", given("k23", intrinsics=((2, 3), K[:6])), 3, "expected shape T,3,3"
    yield "poses of 3 x 3", given("p33", extrinsics=((T, 3, 3), K * T)), 3, "T,4,4 or T,3,4"
    yield "fov and focal", [CLIP, "--fov", 60, "--focal", 500, *out], 2, "leave out one"
    yield "fov and geometry", [CLIP, "--fov", 60, "--geometry", "g.npz", *out], 2, "leave out --fov"
    yield "focal and geometry", [CLIP, "--focal", 60, "--geometry", "g.npz", *out], 2, "leave out --focal"
    yield "two scales", [CLIP, "--scale-to", 1, "--scale-by", 2, *out], 2, "exclude each other"
    for flag, values in (("fov", ("0", "180", "wide")), ("focal", ("0", "-5")), ("scale-to", ("0", "nan")),
                         ("scale-by", ("0", "-1"))):
        for value in values:
            yield f"--{flag} {value}", [CLIP, f"--{flag}", value, *out], 2, f"--{flag} takes"
    yield "a scale without depth", [*given("dark", depths=((T, H, W), flat[:H * W] + ONES[:H * W])), "--scale-to", 2], \
        3, "--scale-to: the first frame has no depth"
    mask = ["--mask-out", "no.png", *out]
    for box in ("480,0,500,20", "0,359.5,9,400", "-9,-9,-1,-1", "-40,5,-0.5,50"):
        yield f"box {box}", [BALL, "--box", box, *mask], 2, "outside the video's frame"
    for point in ("479.6,10", "10,-0.51", "-1,2", "0,360"):
        yield f"point {point}", [BALL, "--point", point, *mask], 2, "outside the video's frame, -0.5..479.5"
    for i, text in enumerate(("0,479.51,1", "0,1,-0.6", "0,-1,1")):
        yield f"query {text}", [BALL, "--queries", write(f"q{i}.csv", text), *out], 2, "it must be -0.5.."


CLIP = test_clip("wide.mp4", "80x60", 6)
finish([one_matrix_stands_for_all_frames, poses_come_in_other_forms, depths_come_in_other_forms,
        numbers_come_in_other_types, fortran_order_is_read, millimetres_track_like_metres, holes_are_no_depth,
        an_old_result_is_a_geometry, known_intrinsics_are_kept, known_intrinsics_are_of_the_input,
        the_unit_is_a_choice, the_unit_of_csv_front_and_geometry, boxes_are_cut_to_the_frame,
        points_on_the_edge_count], bad_cases())
