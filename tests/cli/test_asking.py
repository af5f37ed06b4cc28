#!/usr/bin/env python3
"""What the command line answers: which file a message is about, nearest flags, JSON, standard output. Prints TAP."""
import io
import json
import os
import re
import resource
import shutil
import subprocess

from arrays import read_npz
from tap import complaints, is_sanitized, skip_when_sanitized
from program import (BALL, ENVIRONMENT, FAST, SMALL, SPATRACK, TEMPORARY, built_in, ffmpeg, files, finish, good,
                     limited, path, place, read, refused, run, write)

ARRAYS = ["coords", "tracks2d", "visibs", "confs", "dynamic", "queries", "extrinsics", "intrinsics", "depths",
          "confs_depth", "video", "frame_index", "timestamps"]


def bad_cases():
    folder = place("bad")

    def at(*names):
        return os.path.join(folder, *names)
    # What is read comes first, wherever the result would go.
    for address in ("https://host/v.mp4", "http://host/v.mp4", "rtsp://host:554/live", "udp://@239.0.0.1:1234",
                    "s3://bucket/v.mp4", "ftp://host/%04d.png"):
        for more in ([], ["-o", at("none", "t.npz")], ["--plan"]):
            yield f"{address} {more}", [address, *more], 3, f"cannot open {address}: spatrack never uses a network"
    yield "a file's address", ["file://" + BALL, "-o", at("t.npz")], 3, "without file://"
    for flag in ("--queries", "--mask", "--geometry"):
        for name, message in (("https://host/x", "never uses a network"), (at("none", "x"), "No such file"),
                              (folder, "a folder")):
            yield f"{flag} {name}", [BALL, flag, name, "-o", at("none", "t.npz")], 3, message
    for name in (at("none", "v.mp4"), at("none") + "/", at("none", "%04d.png"), at("none.mp4"), ""):
        for more in ([], ["-o", at("absent", "t.npz")], ["--report", at("absent", "r.json")]):
            yield f"missing '{name}' {more}", [name, *more], 3, "No such file"
    yield "an empty folder", [folder, "-o", at("none", "t.npz")], 3, f"{folder}: a folder without images"
    yield "below a file", [os.path.join(BALL, "v.mp4")], 3, "Not a directory"
    yield "no name", ["/"], 2, "the folder / has no name: say where the result goes with -o FILE"
    yield "no name in a folder", ["///", "-o", at("x") + "/"], 2, "has no name"
    yield "no images in /", ["/", "-o", at("t.npz")], 3, "/: a folder without images"
    # The user's own numbers.
    out = ["-o", at("t.npz"), *FAST]
    for size, words in (("10M", "10.0 MB are allowed (--vram-budget 10M)"), ("1", "(--vram-budget 1)"),
                        ("1000000", "1.0 MB are allowed (--vram-budget 1000000)"),
                        ("0.5M", "0.5 MB are allowed (--vram-budget 512K)"),
                        ("22M", "22.0 MB are allowed (--vram-budget 22M)"),
                        ("23M", "23.0 MB are allowed (--vram-budget 23M)")):
        yield f"--vram-budget {size}", [BALL, "--vram-budget", size, *out], 5, words
    # Misspelt flags.
    for wrong, flag in (("--max-frame", "max-frames"), ("--max_frames", "max-frames"), ("--Grid", "grid"),
                        ("--mdoe", "mode"), ("--quite", "quiet"), ("--out", "output"), ("--outptu=x", "output"),
                        ("--vram", "vram-budget"), ("-grid", "grid"), ("--reprot", "report"),
                        ("--no-clober", "no-clobber"), ("--fixed-cam", "fixed-camera"), ("--qeuries", "queries")):
        yield wrong, [BALL, wrong, "3", *out], 2, f"there is no flag {wrong}; did you mean --{flag}?"
    for wrong in ("--frobnicate", "-z", "--xyzzy", "-9"):
        yield wrong, [BALL, wrong, *out], 2, f"there is no flag {wrong}; spatrack --help"
    # What does not go together.
    for names in ("vide", "video,depth", "version", "", "video,", ",", "video, depths", "Video"):
        yield f"--omit '{names}'", [BALL, *out, "--omit", names], 2, "--omit takes"
    yield "--omit and csv", [BALL, "-o", at("t.csv"), "--omit", "video"], 2, "--omit"
    yield "--format and a name", [BALL, *out, "--format", "csv"], 2, "--format is for -o -"
    yield "--format and no name", [BALL, "--format", "npz"], 2, "--format is for -o -"
    yield "a bad --format", [BALL, "-o", "-", "--format", "json"], 2, "--format takes auto|npz|csv"
    yield "--json alone", [BALL, *out, "--json"], 2, "--json goes with --plan, --info or --compare"
    yield "several and -o -", [BALL, BALL, "-o", "-"], 2, "several videos: -o takes a folder"
    yield "no tracks for csv", [BALL, "-o", "-", "--format", "csv", "--stop-after", "front"], 2, "no tracks"
    yield "standard output twice", [BALL, "-o", "-", "--report", "/dev/stdout"], 2, "/dev/stdout"


# Folders by their real names ---------------------------------------------------------------------

def folders_give_their_real_names():
    frames = place("walk/frames")
    os.makedirs(os.path.join(frames, "deep"))
    ffmpeg("-i", SMALL, "-frames:v", "3", "walk/frames/%d.png")
    for cwd, video, result in (("walk/frames", ".", "walk/frames.npz"), ("walk/frames", "./", "walk/frames.npz"),
                               ("walk", "frames/.", "walk/frames.npz"), ("walk", "frames/", "walk/frames.npz"),
                               ("walk/frames/deep", "..", "walk/frames.npz"),
                               ("walk/frames/deep", ".././/", "walk/frames.npz"),
                               ("walk", "frames/deep/..", "walk/frames.npz"),
                               ("", "walk/./frames", "walk/frames.npz")):
        before = set(files())
        good(video, *FAST, "-q", cwd=os.path.join(TEMPORARY, cwd))
        new = [os.path.relpath(name, TEMPORARY) for name in set(files()) - before]
        assert new == [result], (video, new)
        os.remove(os.path.join(TEMPORARY, result))
    out = place("walk-out")
    good(".", *FAST, "-q", "-o", out + "/", "--report", out + "/", cwd=frames)
    assert sorted(os.listdir(out)) == ["frames.json", "frames.npz"]


# Standard output ---------------------------------------------------------------------------------

def piped(*arguments, **more):
    done = subprocess.run([SPATRACK, SMALL, *FAST, *arguments], capture_output=True, env=ENVIRONMENT,
                          cwd=TEMPORARY, timeout=600, **{"stdin": subprocess.DEVNULL, **more})
    assert done.returncode == 0, done.stderr[-600:]
    return done


def the_result_goes_to_standard_output():
    skip_when_sanitized(SPATRACK)
    folder = place("pipe")
    for name, more in (("t.npz", []), ("t.csv", ["--format", "csv"]), ("t.npz", ["--format", "npz", "-n"]),
                       ("t.npz", ["--no-compress"])):
        out = os.path.join(folder, name)
        good(SMALL, *FAST, "-o", out, *[word for word in more if word == "--no-compress"])
        done = piped("-o", "-", "-v", *more)
        assert done.stdout == read(out), (name, more)
        assert b"tracker: " in done.stderr
        os.remove(out)
    assert os.listdir(folder) == [] and not os.path.exists(os.path.join(TEMPORARY, "-"))


def standard_output_is_appended_to_never_replaced():
    name = os.path.join(place("append"), "all")
    write(name, "before\n")
    inode = os.stat(name).st_ino
    with open(name, "ab") as file:
        for _ in range(2):
            subprocess.run([SPATRACK, SMALL, "-q", *FAST, "-o", "-", "--format", "csv"], stdout=file, check=True,
                           env=ENVIRONMENT)
    text = read(name)
    assert text.startswith(b"before\ntrack,frame") and text.count(b"track,frame") == 2
    assert os.stat(name).st_ino == inode and os.listdir(os.path.dirname(name)) == ["all"]


def from_pipe_to_pipe():
    skip_when_sanitized(SPATRACK)
    with open(SMALL, "rb") as video:
        done = subprocess.run([SPATRACK, "-", "-q", *FAST, "-o", "-"], stdin=video, capture_output=True,
                              env=ENVIRONMENT, check=True)
    assert "coords" in read_npz(io.BytesIO(done.stdout))


def a_pipe_that_is_closed_is_told():
    script = '"$0" "$@" | head -c 10 >/dev/null; echo "${PIPESTATUS[0]}"'
    done = subprocess.run(["bash", "-c", script, SPATRACK, SMALL, "-q", *FAST, "-o", "-"], capture_output=True,
                          encoding="utf-8", env=ENVIRONMENT)
    assert done.stdout == "7\n" and len(complaints(done.stderr)) == 1 and "cannot write" in done.stderr, done
    with open("/dev/full", "wb") as full:
        done = subprocess.run([SPATRACK, SMALL, "-q", *FAST, "-o", "-"], stdout=full, env=ENVIRONMENT,
                              stderr=subprocess.PIPE, encoding="utf-8")
    assert done.returncode == 7 and "No space left" in done.stderr, done


def a_terminal_gets_no_archive():
    master, slave = os.openpty()
    done = subprocess.run([SPATRACK, SMALL, "-q", *FAST, "-o", "-"], stdout=slave, stderr=subprocess.PIPE,
                          env=ENVIRONMENT, encoding="utf-8")
    os.close(slave)
    os.close(master)
    assert done.returncode == 2 and "is a terminal" in done.stderr, done


# What is left out --------------------------------------------------------------------------------

def arrays_are_left_out():
    folder = place("omit")
    whole = os.path.join(folder, "whole.npz")
    good(SMALL, *FAST, "-o", whole)
    all_arrays = read_npz(whole)
    rest = [name for name in all_arrays if name != "version"]
    assert set(ARRAYS) <= set(rest)
    for names in (["video", "depths"], ["coords"], ["depths", "confs_depth", "video", "extrinsics"], rest):
        out = os.path.join(folder, "part.npz")
        good(SMALL, *FAST, "-o", out, "--omit", ",".join(names))
        part = read_npz(out)
        assert set(part) == set(all_arrays) - set(names)
        assert all(part[name] == all_arrays[name] for name in part if name != "version")
    good(SMALL, *FAST, "-o", out, "--omit", "video,depths")
    assert os.path.getsize(out) < os.path.getsize(whole) / 2
    good(SMALL, *FAST, "-o", out, "--omit", "object,object_names")
    assert list(read_npz(out)) == list(all_arrays)
    stdout = piped("-q", "-o", "-", "--omit", "video").stdout
    assert set(read_npz(io.BytesIO(stdout))) == set(all_arrays) - {"video"}


# JSON --------------------------------------------------------------------------------------------

def info_is_json_too():
    weights = place("json-weights")
    for model in ("front", "offline"):
        built_in(weights, model)
    for more in ([], ["--weights", weights], ["--weights", place("json-nothing")]):
        text, facts = good("--info", *more).stdout, json.loads(good("--info", "--json", *more).stdout)
        for device in facts["devices"]:
            line = f"{device['device']}: {device['description']}"
            assert re.sub(r"\d+ MB", "", line) in re.sub(r"\d+ MB", "", text), (line, text)
        for model in facts["weights"]:
            line = next(line for line in text.splitlines() if line.startswith(model["model"] + ": "))
            if model["bytes"] is None:
                assert line.endswith(": " + model["problem"])
            else:
                assert f" {model['bytes'] / 2**20:.1f} MB, " in line and model["where"] in line
                assert model["folder"] is None or model["folder"] in line
        assert len(text.splitlines()) == len(facts["devices"]) + len(facts["weights"])


def plan_is_json_too():
    skip_when_sanitized(SPATRACK)
    # What there is to have does not change between two runs where it is the process's own limit.
    limit = None if is_sanitized(SPATRACK) else limited(resource.RLIMIT_AS, 2 << 30)
    for more in ([], ["--grid", 3], ["--stop-after", "front"], ["--vram-budget", "1G"], ["--vram-budget", "10M"],
                 ["--box", "100,100,300,300"]):
        table = run(BALL, "-q", "--plan", "--max-frames", 3, *more, preexec_fn=limit)
        done = run(BALL, "-q", "--plan", "--json", "--max-frames", 3, *more, preexec_fn=limit)
        facts = json.loads(done.stdout)
        assert done.returncode == table.returncode == (0 if facts["fits"] else 5), (more, done)
        assert len(done.stdout.splitlines()) == 1
        assert f"{facts['video']}: {facts['frames']} frames of {facts['width']}x{facts['height']}" in table.stdout
        assert ("points" in facts) == ("support points" in table.stdout)
        for stage in facts["stages"]:
            line = next(line for line in table.stdout.splitlines() if line.startswith(stage["stage"] + " "))
            numbers = re.findall(r"([\d.]+) MB", line)
            keys = ("weight_bytes", "activation_bytes", "peak_device_bytes", "peak_host_bytes")
            assert numbers == [f"{stage[key] / 2**20:.1f}" for key in keys] and f" {stage['mode']} " in line, line
            assert stage["seconds"] > 0
        fits = re.search(r"longest clip that fits: (\d+)", table.stdout)
        assert facts["max_frames"] == int(fits.group(1))
        if more[:1] == ["--vram-budget"]:
            assert f"{facts['allowed_device_bytes'] / 2**20:.1f} MB allowed" in table.stdout
    copies = [shutil.copy(BALL, os.path.join(TEMPORARY, name)) for name in ("one.mp4", "two.mp4")]
    lines = good(*copies, "-q", "--plan", "--json", "--max-frames", 2).stdout.splitlines()
    assert len(lines) == 2 and [json.loads(line)["frames"] for line in lines] == [2, 2]


def weights_say_points_and_iterations():
    def facts(*more):
        return json.loads(good(SMALL, "-q", "--plan", "--json", "--max-frames", 3, *more).stdout)

    def kept(config):
        folder = built_in("counts", "offline", config=json.dumps(config))
        found = facts("--weights", folder, "--geometry", geometry)
        return found["support_points"], found["iterations"]

    geometry = good(SMALL, *FAST, "-q", "--stop-after", "front", "-o", path("front.npz")) and path("front.npz")
    assert facts()["iterations"] == 3
    assert facts("--iters", 7)["iterations"] == 7
    with open(os.path.join(built_in("as-it-is", "offline"), "offline", "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    for key, value in (("track_num", 30), ("iters_track", 2)):
        config["model"][key] = value
    assert kept(config) == (30, 2)
    del config["model"]["track_num"], config["model"]["iters_track"]
    assert kept(config) == (756, 4)
    for wrong in (0, 65, 1.5, "three"):
        config["model"]["iters_track"] = wrong
        folder = built_in("counts", "offline", config=json.dumps(config))
        refused(4, "iters_track", SMALL, "--plan", "--weights", folder, "--geometry", geometry)


# Notes -------------------------------------------------------------------------------------------

def a_note_about_the_weights_comes_once():
    skip_when_sanitized(SPATRACK)
    folder = place("notes")
    names = [shutil.copy(BALL, os.path.join(folder, f"{i}.mp4")) for i in range(3)]
    out = place("notes-out") + "/"
    for more in ([], ["--sleep-level", 2], ["--box", "100,100,300,300", "--grid", 10]):
        done = good(*names, *FAST, *more, "-o", out)
        assert done.stderr.count("built-in lite weights; get") == 1, done.stderr
        assert done.stderr.count("built-in lite weights for SAM") == ("--box" in more)


finish([folders_give_their_real_names, the_result_goes_to_standard_output,
        standard_output_is_appended_to_never_replaced, from_pipe_to_pipe, a_pipe_that_is_closed_is_told,
        a_terminal_gets_no_archive, arrays_are_left_out, info_is_json_too, plan_is_json_too,
        weights_say_points_and_iterations, a_note_about_the_weights_comes_once], bad_cases())
