#!/usr/bin/env python3
"""--compare: what is measured, what a tolerance is held against, exit statuses, and README's examples. Prints TAP."""
import json
import math
import os
import re
import shutil
import subprocess

from arrays import write_npz
from tap import complaints, skip_when_sanitized
from program import (BALL, ENVIRONMENT, FAST, ROOT, SMALL, SPATRACK, TEMPORARY, finish, good, path, place, read, run,
                     write)

T, N, H, W, DEPTH = 4, 5, 3, 6, 2.0
EYE = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]


def result(name, frames=T, tracks=N, **changes):
    """A result whose camera stands still in front of points on a wall; a change is an array or None."""
    points = [(n % 3 - 1.0, n // 3 - 0.5, DEPTH) for _ in range(frames) for n in range(tracks)]
    arrays = {
        "coords": ((frames, tracks, 3), [x for point in points for x in point]),
        "tracks2d": ((frames, tracks, 2), [v for x, y, z in points for v in (50 + 40 * x / z, 30 + 40 * y / z)]),
        "visibs": ((frames, tracks, 1), [1.0] * (frames * tracks)),
        "extrinsics": ((frames, 4, 4), EYE * frames),
        "intrinsics_input": ((frames, 3, 3), [40, 0, 50, 0, 40, 30, 0, 0, 1] * frames),
        "intrinsics": ((frames, 3, 3), [20, 0, 25, 0, 20, 15, 0, 0, 1] * frames),
        "depths": ((frames, H, W), [DEPTH] * (frames * H * W))}
    for array, change in changes.items():
        arrays[array] = change(arrays[array]) if callable(change) else change
    write_npz(path(name), **{key: value for key, value in arrays.items() if value})
    return path(name)


def at(changed):
    """A change of single values, {place in the flat array: value}."""
    def change(array):
        values = list(array[1])
        for index, value in changed.items():
            values[index] = value
        return (array[0], values, *array[2:])
    return change


def each(function):
    return lambda array: (array[0], [function(i, value) for i, value in enumerate(array[1])], *array[2:])


def compared(expected, actual, *flags):
    """(exit status, the JSON object, its rows by name); the table says the same."""
    done = run("--compare", expected, actual, "--json", *flags)
    assert done.returncode in (0, 1), done
    facts = json.loads(done.stdout)
    assert len(complaints(done.stderr)) == done.returncode and facts["within"] == (done.returncode == 0), done
    table = run("--compare", expected, actual, *flags)
    assert table.returncode == done.returncode and table.stderr == done.stderr
    for row in facts["rows"]:
        line = next(line for line in table.stdout.splitlines() if line.startswith(f"{row['name']}, {row['unit']} "))
        assert line.endswith("TOO FAR") == (not row["within"]), line
        assert row["within"] or row["name"] in done.stderr
    assert all(note in table.stdout for note in facts["notes"])
    return done.returncode, facts, {row["name"]: row for row in facts["rows"]}


def near(found, expected):
    assert math.isclose(found, expected, rel_tol=1e-4, abs_tol=1e-6), (found, expected)


# What is measured --------------------------------------------------------------------------------

def a_result_is_itself():
    same = result("same.npz")
    for flags in ([], ["--tolerance-px", 0, "--tolerance-rel", 0]):
        status, facts, rows = compared(same, same, *flags)
        assert status == 0 and facts["notes"] == [] and len(rows) == 8
        assert (facts["frames"], facts["tracks"], facts["median_depth"]) == (T, N, DEPTH)
        assert all(row.get("largest", row.get("share")) == 0 for row in rows.values())
        assert rows["2D error"]["count"] == rows["visibility flips"]["count"] == T * N
        assert rows["depth"]["count"] == T * H * W and rows["rotation"]["count"] == T


def errors_are_what_was_done():
    expected, places = result("e.npz"), T * N
    moved = result("a.npz", tracks2d=each(lambda i, v: v + (3, 4)[i % 2]),
                   coords=each(lambda i, v: v + 0.1 * (i % 3 == 2)),
                   depths=each(lambda i, v: v * (1.5 if i == 0 else 1.02)),
                   intrinsics_input=each(lambda i, v: v * 1.03 if i % 9 == 4 else v))
    status, _, rows = compared(expected, moved)
    assert status == 1
    for statistic in ("median", "percentile_95", "largest"):
        near(rows["2D error"][statistic], 5)
        near(rows["3D error"][statistic], 0.1 / DEPTH)
        near(rows["focal length"][statistic], 0.03)
        near(rows["depth"][statistic], 0.5 if statistic == "largest" else 0.02)
    assert {name for name, row in rows.items() if not row["within"]} == {"2D error", "3D error", "focal length",
                                                                          "depth"}
    # Of 20 places one may be off.
    for off, percentile in ((1, 0), (2, 7)):
        changes = {2 * N * t: 50 - 20 + 7 for t in range(off)}  # track 0's x
        status, _, rows = compared(expected, result("a.npz", tracks2d=at(changes)))
        assert rows["2D error"]["count"] == places == 20
        near(rows["2D error"]["percentile_95"], percentile)
        near(rows["2D error"]["largest"], 7)
        assert status == (off > 1)


def cameras_are_compared_by_angle_and_place():
    angle, centre = math.radians(2), (0.3, 0.0, -0.4)
    c, s = math.cos(angle), math.sin(angle)
    rotation = [[c, 0, s], [0, 1, 0], [-s, 0, c]]
    pose = [x for row in rotation for x in (*row, -sum(r * v for r, v in zip(row, centre)))] + [0, 0, 0, 1]
    _, _, rows = compared(result("e.npz"), result("a.npz", extrinsics=((T, 4, 4), EYE * (T - 1) + pose)))
    near(rows["rotation"]["largest"], 2)
    near(rows["translation"]["largest"], 0.5 / DEPTH)
    assert rows["rotation"]["median"] == rows["translation"]["median"] == 0
    assert compared(path("e.npz"), path("a.npz"), "--tolerance-rel", 0.26)[0] == 0
    assert compared(path("e.npz"), path("a.npz"), "--tolerance-rel", 0.24)[0] == 1  # 0.25 of the depth
    short = ((T, 3, 4), (EYE[:12] * (T - 1) + pose[:12]))
    _, _, rows = compared(result("e.npz"), result("a.npz", extrinsics=short))
    near(rows["rotation"]["largest"], 2)
    turned = result("t.npz", extrinsics=((T, 4, 4), [-1, 0, 0, 0, 0, 1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1] * T))
    near(compared(path("e.npz"), turned)[2]["rotation"]["largest"], 180)


def visibility_decides_where_tracks_are_compared():
    hidden = {t * N: 0.4 for t in range(T)}
    far = each(lambda i, v: v + 100 * (i % (2 * N) < 2))
    expected = result("e.npz", visibs=at(hidden))
    status, _, rows = compared(expected, result("a.npz", visibs=at(hidden), tracks2d=far))
    assert status == 0 and rows["2D error"]["count"] == T * (N - 1) and rows["visibility flips"]["count"] == 16
    status, facts, rows = compared(expected, path("a.npz"), "--tolerance-px", 0)
    assert status == 1 and facts["notes"] == [f"tracks2d: {2 * T} of {2 * T * N} values are not identical"]
    status, _, rows = compared(expected, result("a.npz"))
    assert status == 1 and rows["visibility flips"]["different"] == T and rows["2D error"]["within"]
    near(rows["visibility flips"]["share"], T / (T * N))
    one = result("a.npz", visibs=at({1: 0.4}))
    status, _, rows = compared(result("e.npz"), one)
    assert status == 0 and rows["visibility flips"]["share"] == 1 / 20
    assert compared(path("e.npz"), one, "--tolerance-px", 0)[0] == 1
    # Nothing that is seen is no agreement.
    assert compared(path("e.npz"), result("a.npz", visibs=each(lambda i, v: 0)))[0] == 1
    # Other shapes and types of the same.
    for array in (((T, N), [1] * 20, "|b1"), ((T, N), [1.0] * 20, "<f8"), ((T, N, 1), [1] * 20, "<i8")):
        assert compared(path("e.npz"), result("a.npz", visibs=array), "--tolerance-px", 0)[0] == 0


def values_that_are_no_numbers_agree_with_nothing_else():
    nan = float("nan")
    for array, name in (("tracks2d", "2D error"), ("coords", "3D error"), ("extrinsics", "rotation"),
                        ("intrinsics_input", "focal length"), ("depths", "depth in one alone")):
        bad = result("a.npz", **{array: each(lambda i, v: nan)})
        status, _, rows = compared(result("e.npz"), bad)
        assert status == 1 and not rows[name]["within"] and rows[name].get("largest") is None, (array, rows)
        assert compared(bad, bad, "--tolerance-px", 0, "--tolerance-rel", 0)[0] == 0, array


def holes_of_depth_are_counted():
    status, _, rows = compared(result("e.npz"), result("a.npz", depths=at({0: 0, 1: -1, 2: float("inf")})))
    assert status == 0 and rows["depth in one alone"]["different"] == 3 and rows["depth"]["count"] == T * H * W - 3
    status, _, rows = compared(path("e.npz"), result("a.npz", depths=each(lambda i, v: 0)))
    assert status == 1 and rows["depth in one alone"]["share"] == 1


# What is not there -------------------------------------------------------------------------------

def other_counts_are_a_line_each():
    status, facts, rows = compared(result("e.npz"), result("a.npz", frames=T - 1, tracks=N + 2))
    assert status == 1 and facts["notes"] == ["frames: 4 expected, 3 found", "tracks: 5 expected, 7 found"]
    assert rows == {}
    status, facts, rows = compared(path("e.npz"), result("a.npz", tracks=N - 1))
    assert status == 1 and facts["notes"] == ["tracks: 5 expected, 4 found"]
    assert set(rows) == {"depth", "depth in one alone", "rotation", "translation", "focal length"}
    small = result("a.npz", depths=((T, H, W - 1), [DEPTH] * (T * H * (W - 1))))
    status, facts, rows = compared(path("e.npz"), small)
    assert status == 1 and facts["notes"] == ["depth maps: 6 x 3 expected, 5 x 3 found"]
    assert "depth" not in rows and rows["2D error"]["within"] and len(rows) == 6


def what_is_left_out_is_not_compared():
    whole = result("whole.npz")
    for array, gone in (("depths", {"depth", "depth in one alone"}), ("coords", {"3D error"}),
                        ("visibs", {"visibility flips"}), ("extrinsics", {"rotation", "translation"})):
        part = result("part.npz", **{array: None})
        status, facts, rows = compared(part, whole)
        assert status == 0 and facts["notes"] == [f"only in the actual result: {array}"], facts
        names = {row["name"] for row in compared(whole, whole)[1]["rows"]}
        assert set(rows) == names - gone
        status, facts, rows = compared(whole, part)
        assert status == 1 and set(rows) == names - gone
        assert facts["notes"][-1] == f"only in the expected result: {array}"
        assert "an array is missing" in facts["notes"][0]
    more = result("more.npz", sigma=((T, N), [0.1] * (T * N)))
    assert compared(whole, more)[1]["notes"] == ["only in the actual result: sigma"]


def the_predecessors_keys_are_enough():
    keys = {"tracks2d": None, "intrinsics_input": None}
    moved = each(lambda i, v: v + 0.2 * (i % 3 == 0))
    status, facts, rows = compared(result("e.npz", **keys), result("a.npz", coords=moved, **keys))
    assert status == 1 and facts["notes"] == [] and rows["2D error"]["unit"] == "saved pixels"
    near(rows["2D error"]["largest"], 20 * 0.2 / DEPTH)
    # One that has more is seen the same way; the input's camera is better than the saved maps'.
    assert compared(path("e.npz"), result("a.npz", coords=moved))[2]["2D error"] == rows["2D error"]
    _, _, rows = compared(result("e.npz", tracks2d=None), result("a.npz", coords=moved))
    near(rows["2D error"]["largest"], 40 * 0.2 / DEPTH)
    # Without depth the points give the unit of length.
    keys["depths"] = None
    _, facts, rows = compared(result("e.npz", **keys), result("a.npz", coords=moved, **keys))
    near(facts["median_depth"], DEPTH)
    near(rows["3D error"]["largest"], 0.2 / DEPTH)


def real_results_are_compared():
    skip_when_sanitized(SPATRACK)
    write_to = place("real")
    one, two, other = (os.path.join(write_to, name) for name in ("1.npz", "2.npz", "3.npz"))
    good(BALL, *FAST, "-o", one)
    good(BALL, *FAST, "-o", two, "--no-compress", "--threads", 1)
    good(BALL, *FAST, "-o", other, "--seed", 1, "--omit", "video,confs")
    status, facts, rows = compared(one, two, "--tolerance-px", 0, "--tolerance-rel", 0)
    assert status == 0 and facts["notes"] == [] and len(rows) == 8 and facts["frames"] == 3
    status, facts, _ = compared(one, other, "--tolerance-px", 0)
    assert status == 1 and facts["notes"][-1] == "only in the expected result: video, confs"


# Exit statuses -----------------------------------------------------------------------------------

def bad_cases():
    whole, missing = result("whole.npz"), path("none.npz")
    text = write("text.npz", "no archive")
    cut = write("cut.npz", read("whole.npz")[:400])
    write_npz(path("other.npz"), points=((2, 2), [1.0] * 4))
    for name, file, message in (("missing", missing, "none.npz: No such file"), ("a text", text, "not an .npz"),
                                ("cut off", cut, "cut.npz"), ("no result", path("other.npz"), "is no result"),
                                ("a video", BALL, "ball.mp4: not an .npz")):
        yield name + ", expected", ["--compare", file, whole], 3, message
        yield name + ", actual", ["--compare", whole, file], 3, message
    for name, changes, message in (
            ("two numbers of frames", {"depths": ((T + 1, H, W), [1.0] * ((T + 1) * H * W))},
             "array depths is for 5 frames, others are for 4"),
            ("two numbers of tracks", {"visibs": ((T, N + 1), [1.0] * (T * (N + 1)))},
             "array visibs is for 6 tracks, others are for 5"),
            ("flat points", {"coords": ((T, N, 2), [1.0] * (T * N * 2))}, "coords: expected shape *,*,3"),
            ("two rows of a pose", {"extrinsics": ((T, 2, 4), [1.0] * (T * 8))}, "extrinsics: expected shape *,4,4"),
            ("flat depths", {"depths": ((T, H), [1.0] * (T * H))}, "depths: expected shape *,*,*")):
        yield name, ["--compare", whole, result(name.replace(" ", "-") + ".npz", **changes)], 3, message
    yield "one result", ["--compare", whole], 2, "spatrack --compare EXPECTED.npz ACTUAL.npz"
    yield "three results", ["--compare", whole, whole, whole], 2, "takes two results"
    yield "a flag of a run", ["--compare", whole, whole, "--grid", 3], 2, "leave out --grid"
    yield "an output", ["--compare", whole, whole, "-o", path("x.npz")], 2, "leave out --output"
    for flag in ("--tolerance-px", "--tolerance-rel"):
        yield f"{flag} alone", [BALL, flag, 1], 2, f"{flag} goes with --compare"
        for value in (-1, "nan", "x", ""):
            yield f"{flag} '{value}'", ["--compare", whole, whole, flag, value], 2, f"{flag} takes"


def a_full_disk_is_told():
    whole = result("whole.npz")
    with open("/dev/full", "wb") as full:
        for actual in (whole, result("a.npz", tracks=2)):
            done = subprocess.run([SPATRACK, "--compare", whole, actual], stdout=full, stderr=subprocess.PIPE,
                                  env=ENVIRONMENT)
            assert done.returncode == 7, done


# README ------------------------------------------------------------------------------------------

def example(language):
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        blocks = re.findall(rf"^```{language}\n(.*?)^```", file.read(), re.S | re.M)
    blocks = [block for block in blocks if "--compare" in block]
    assert len(blocks) == 1, (language, len(blocks))
    return blocks[0]


def example_folders():
    """(what must be the exit status, a folder with a clip and what is expected of it)."""
    for status, seed in ((0, []), (1, ["--grid", 3])):
        folder = place(f"example-{len(os.listdir(TEMPORARY))}")
        shutil.copy(SMALL, os.path.join(folder, "clip.mp4"))
        good("clip.mp4", *seed, "-o", "expected.npz", cwd=folder)
        yield status, folder
    for name in os.listdir(folder):
        if name != "clip.mp4":
            os.remove(os.path.join(folder, name))
    yield 3, folder


def environment():
    """In which spatrack is a program like others."""
    folder = path("bin")
    if not os.path.exists(folder):
        os.symlink(os.path.dirname(SPATRACK), folder)
    return {**ENVIRONMENT, "PATH": folder + os.pathsep + os.environ["PATH"]}


def readmes_script_tells_what_became_of_the_tracks():
    skip_when_sanitized(SPATRACK)
    script = write("example.sh", example("sh"))
    words = {0: "as expected", 1: "too far apart", 3: "nothing was compared"}
    for status, folder in example_folders():
        done = subprocess.run(["sh", script], cwd=folder, env=environment(), capture_output=True, encoding="utf-8")
        assert done.returncode == status and words[status] in done.stdout, done
        assert os.path.exists(os.path.join(folder, "differs.npz")) == (status == 1)


def readmes_workflow_fails_where_the_tracks_differ():
    """Its steps that run something, each as GitHub's runners do, until one fails."""
    skip_when_sanitized(SPATRACK)
    text = example("yaml")
    steps = re.findall(r"^      - run: (.+)$", text, re.M)
    assert len(steps) == text.count("run: ") == 2
    for status, folder in example_folders():
        for step in steps:
            done = subprocess.run(["bash", "-e", "-c", step], cwd=folder, env=environment(), capture_output=True)
            if done.returncode:
                break
        assert (done.returncode, step) == (status, steps[-1])
        data = read(os.path.join(folder, re.search(r"path: (\S+)", text).group(1)))
        assert json.loads(data)["within"] == (status == 0) if status < 2 else data == b""


finish([a_result_is_itself, errors_are_what_was_done, cameras_are_compared_by_angle_and_place,
        visibility_decides_where_tracks_are_compared, values_that_are_no_numbers_agree_with_nothing_else,
        holes_of_depth_are_counted, other_counts_are_a_line_each, what_is_left_out_is_not_compared,
        the_predecessors_keys_are_enough, real_results_are_compared, a_full_disk_is_told,
        readmes_script_tells_what_became_of_the_tracks, readmes_workflow_fails_where_the_tracks_differ],
       bad_cases())
