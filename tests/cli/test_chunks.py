#!/usr/bin/env python3
"""The front in chunks of frames, with the real program. Prints TAP."""
import json
import math
import re

from arrays import read_npz
from program import (FAST, SMALL, SPATRACK, finish, good, path, place, read, refused, report_of, run, synthetic,
                     test_clip, write)
from tap import skip_when_sanitized

FRONT = ["--stop-after", "front", "--no-compress"]
TEN = ["--front-chunk", 10, "--front-overlap", 4]


def strip(frames):
    """Low and wide, so that many frames are few pixels."""
    return test_clip(f"strip{frames}.mp4", "256x32", frames)


def settings_of(arrays):
    return json.loads(arrays["version"].values)["settings"]


def finite(arrays):
    return all(math.isfinite(v) for name in ("depths", "confs_depth", "extrinsics", "intrinsics")
               for v in arrays[name].values)


def matrices(array, side):
    size = side * side
    return [[array.values[at + side * i:at + side * (i + 1)] for i in range(side)]
            for at in range(0, len(array.values), size)]


def a_chunked_front_says_so():
    place("said")
    done = good(SMALL, *FRONT, *TEN, "-o", "said/t.npz", "--report", "said/r.json")
    assert "front: 4 chunks of 10 frames, 4 of them shared" in done.stderr, done.stderr
    found = read_npz(path("said/t.npz"))
    assert found["chunks"].dtype == "<i8" and found["chunks"].values == (0, 6, 12, 18)
    assert found["chunks_similarity"].dtype == "<f8" and found["chunks_similarity"].shape == (4, 4, 4)
    assert found["depths"].shape[0] == 24 and finite(found)
    settings = settings_of(found)
    assert settings["front-chunk"] == 10 and settings["front-overlap"] == 4, settings
    reported = report_of("said/r.json")["front_chunks"]
    assert (reported["frames"], reported["overlap"]) == (10, 4), reported
    for chunk, first, matrix in zip(reported["chunks"], found["chunks"].values,
                                    matrices(found["chunks_similarity"], 4)):
        scale = sum(value * value for value in matrix[0][:3]) ** 0.5
        assert chunk["first"] == first and 0.3 < scale < 3, chunk
        assert all(abs(a - b) < 1e-14 for a, b in zip(chunk["similarity"], sum(matrix, ()), strict=True)), (matrix, chunk)
    assert matrices(found["chunks_similarity"], 4)[0] == [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]


def short_clips_are_taken_at_once():
    place("short")
    done = good(SMALL, *FRONT, "-o", "short/t.npz", "--report", "short/r.json")
    assert "chunk" not in done.stderr, done.stderr
    assert report_of("short/r.json")["front_chunks"] is None
    found = read_npz(path("short/t.npz"))
    assert not [name for name in found if name.startswith("chunk")]
    assert not [name for name in settings_of(found) if name.startswith("front-")]  # as without these flags
    for flags in (["--front-chunk", 0], ["--front-chunk", 24], ["--front-chunk", 100, "--front-overlap", 99],
                  ["--front-overlap", 7]):
        good(SMALL, *FRONT, *flags, "-o", "short/same.npz")
        same = read_npz(path("short/same.npz"))
        assert all(same[name] == found[name] for name in found if name != "version"), flags
        assert same.keys() == found.keys(), flags


def longer_clips_are_chunked_by_themselves():
    skip_when_sanitized(SPATRACK)
    place("long")
    for frames, expected in ((80, None), (81, (0, 30)), (121, (0, 30, 60, 90))):
        good(strip(121), *FRONT, "--max-frames", frames, "-o", "long/t.npz", "-q")
        found = read_npz(path("long/t.npz"))
        assert (found["chunks"].values if "chunks" in found else None) == expected, (frames, found.keys())
        assert finite(found) and found["depths"].shape[0] == frames
    good(strip(121), *FRONT, "--max-frames", 121, "--front-chunk", 60, "-o", "long/given.npz")
    given = read_npz(path("long/given.npz"))
    assert all(given[name] == found[name] for name in found if name != "version")
    plan = good(strip(121), *FRONT, "--max-frames", 121, "--mode", "online", "--plan").stdout
    assert "chunks" not in plan, plan


def threads_change_no_byte():
    skip_when_sanitized(SPATRACK)
    place("threads")
    for threads in (1, 2, 3):
        good(SMALL, *FRONT, *TEN, "--threads", threads, "-o", f"threads/{threads}.npz")
    assert len({read(f"threads/{threads}.npz") for threads in (1, 2, 3)}) == 1


def budgets_change_no_byte():
    skip_when_sanitized(SPATRACK)
    place("budget")
    for name, flags in (("easy", []), ("lean", ["--weight-mode", "streamed"])):
        good(SMALL, *FRONT, *TEN, *flags, "-o", f"budget/{name}.npz")
    assert read("budget/easy.npz") == read("budget/lean.npz")


def tracks_follow_in_both_modes():
    skip_when_sanitized(SPATRACK)
    place("tracks")
    for mode in ("offline", "online"):
        good(SMALL, *TEN, *FAST[2:], "--mode", mode, "-o", f"tracks/{mode}.npz")
        found = read_npz(path(f"tracks/{mode}.npz"))
        assert found["coords"].shape == (24, 4, 3) and len(found["chunks"].values) == 4
        assert finite(found) and all(map(math.isfinite, found["coords"].values))


def still_cameras_stay_still():
    """As the built-in front's are: chunks differ by a scale alone."""
    place("still")
    good(SMALL, *FRONT, *TEN, "-o", "still/t.npz")
    found = read_npz(path("still/t.npz"))
    identity = (1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1)
    assert found["extrinsics"].values == 24 * identity
    for matrix in matrices(found["chunks_similarity"], 4):
        scale = matrix[0][0]
        assert matrix == [(scale, 0, 0, 0), (0, scale, 0, 0), (0, 0, scale, 0), (0, 0, 0, 1)], matrix


def moving_cameras_stay_rigid():
    """Those of a checkpoint with cameras, made up: rotations stay rotations, and lengths follow --scale-by."""
    skip_when_sanitized(SPATRACK)
    place("moving")
    weights, results = path("moving/weights"), []
    synthetic("front_tiny", "moving/weights/front")
    config = json.loads(read("moving/weights/front/config.json"))
    write("moving/weights/front/config.json", json.dumps({**config, "img_size": 56}))
    for name, flags in (("one", []), ("ten", ["--scale-by", 10])):
        good(SMALL, *FRONT, *TEN, *flags, "--weights", weights, "-o", f"moving/{name}.npz")
        results.append(read_npz(path(f"moving/{name}.npz")))
    one, ten = results
    assert finite(one) and len(set(one["extrinsics"].values)) > 100
    for pose in matrices(one["extrinsics"], 4):
        for i in range(3):
            for j in range(3):
                dot = sum(pose[i][k] * pose[j][k] for k in range(3))
                assert abs(dot - (i == j)) < 1e-5, pose
    for a, b in zip(matrices(one["chunks_similarity"], 4), matrices(ten["chunks_similarity"], 4)):
        assert [row[:3] for row in a] == [row[:3] for row in b]
        assert all(math.isclose(10 * a[i][3], b[i][3]) for i in range(3)), (a, b)
    assert any(a[0][3] for a in matrices(one["chunks_similarity"], 4))


def the_plan_is_that_of_one_chunk():
    place("plan")

    def planned(*flags):
        return json.loads(good(SMALL, *FRONT, *flags, "--plan", "--json").stdout)

    chunked, whole, ten = planned(*TEN), planned("--front-chunk", 0), planned("--max-frames", 10)
    assert (chunked["front_chunks"], chunked["front_chunk_frames"], chunked["front_chunk_overlap"]) == (4, 10, 4)
    assert "front_chunks" not in whole and "front_chunks" not in ten
    memory = [plan["stages"][0]["activation_bytes"] for plan in (ten, chunked, whole)]
    assert memory[0] == memory[1] < memory[2], memory
    table = good(SMALL, *FRONT, *TEN, "--plan").stdout
    assert "front: 4 chunks of 10 frames, 4 of them shared" in table, table
    good(SMALL, *FRONT, *TEN, "-o", "plan/t.npz", "--report", "plan/r.json")
    (stage,) = [s for s in report_of("plan/r.json")["stages"] if s["name"] == "front"]
    assert stage["planned_device_bytes"] == stage["peak_device_bytes"] == chunked["stages"][0]["peak_device_bytes"]


def a_clip_that_fits_in_chunks_counts_as_one_that_fits():
    """80 frames at once take more than chunks of 60."""
    def plan(frames, *flags):
        return good(strip(121), *FRONT, "--max-frames", frames, "--plan", *flags).stdout

    peak = float(re.search(r"^front .*? MB +[\d.]+ MB +([\d.]+) MB", plan(80), re.M).group(1))
    eighty = [strip(121), *FRONT, "--max-frames", 80, "--vram-budget"]
    budget = int(peak * (1 << 20))
    while run(*eighty, budget, "--plan").returncode == 0:
        budget -= budget // 50
    assert "fits: 10000 or more" in plan(121, "--vram-budget", budget)
    line = refused(5, "use --max-frames", *eighty, budget, "-o", "x.npz")
    assert 60 <= int(re.search(r"--max-frames (\d+)", line).group(1)) < 80, line


def dumps_are_of_each_chunk():
    good(SMALL, *FRONT, *TEN, "--dump", "dump", "-o", "dump.npz")
    names = read("dump/order.txt").decode().split()
    for k in range(4):
        assert f"chunk{k}/front/camera/delta" in names, names[:5]
    assert not [name for name in names if not name.startswith("chunk")]


def chunks_can_be_left_out():
    good(SMALL, *FRONT, *TEN, "--omit", "chunks,chunks_similarity,video", "-o", "omitted.npz")
    assert not [name for name in read_npz(path("omitted.npz")) if name.startswith("chunk")]


def bad_cases():
    place("bad")
    out = ["-o", path("bad/t.npz")]
    yield "overlap as long as a chunk", [SMALL, "--front-chunk", 10, "--front-overlap", 10, *out], 2, \
        "--front-overlap 10: chunks of 10 frames share at most 9"
    yield "overlap longer than the usual chunk", [SMALL, "--front-overlap", 60, *out], 2, \
        "--front-overlap 60: chunks of 60 frames share at most 59"
    yield "a chunk of one frame", [SMALL, "--front-chunk", 1, *out], 2, "--front-chunk takes 2 frames or more"
    yield "no overlap", [SMALL, "--front-overlap", 0, *out], 2, "--front-overlap takes"
    yield "all at once with an overlap", [SMALL, "--front-chunk", 0, "--front-overlap", 5, *out], 2, \
        "leave out --front-overlap"
    for flag in ("chunk", "overlap"):
        yield f"{flag} and geometry", [SMALL, f"--front-{flag}", 5, "--geometry", "g.npz", *out], 2, \
            f"leave out --front-{flag}"


finish([a_chunked_front_says_so, short_clips_are_taken_at_once, longer_clips_are_chunked_by_themselves,
        threads_change_no_byte, budgets_change_no_byte, tracks_follow_in_both_modes, still_cameras_stay_still,
        moving_cameras_stay_rigid, the_plan_is_that_of_one_chunk, a_clip_that_fits_in_chunks_counts_as_one_that_fits,
        dumps_are_of_each_chunk, chunks_can_be_left_out], bad_cases())
