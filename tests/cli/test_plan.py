#!/usr/bin/env python3
"""Planned memory, sleep and several videos, with the real program. Prints TAP."""
import json
import os
import re
import shutil

from arrays import read_npz
from program import (BALL, FAST as FEW, ROOT, SMALL, SPATRACK, TEMPORARY, finish, good, place, read, refused,
                     report_of, run, synthetic)
from tap import Skip, complaints, is_sanitized, skip_when_sanitized

FAST = [*FEW, "--threads", "1"]
WORKSPACE = 17 << 19  # of one CPU thread


def rows(text):
    """Stage: (mode, [weights, activations, peak, host] in MB) of a --plan table."""
    mode = r"((?:in place|resident|streamed)(?:, host maps)?)"
    found = re.findall(r"^(\S+) +" + mode + " +" + r"([\d.]+) MB +" * 4 + r"\S", text, re.M)
    return {stage: (mode, [float(x) for x in numbers]) for stage, mode, *numbers in found}


def stages(name):
    return {stage["name"]: stage for stage in report_of(name)["stages"] if stage["mode"]}


def the_plan_is_what_is_measured():
    folder = place("plan")
    for mode in ("in-place", "resident", "streamed"):
        how = [SMALL, *FAST, "--weight-mode", mode]
        out, report = (os.path.join(folder, mode + end) for end in (".npz", ".json"))
        plan = rows(good(*how, "--plan").stdout)
        good(*how, "-o", out, "--report", report)
        found = stages(report)
        assert set(plan) == set(found) == {"front", "tracker"}, plan
        for stage, measured in found.items():
            assert measured["planned_device_bytes"] == measured["peak_device_bytes"], measured
            reported, (_, activations, peak, _) = plan[stage]
            assert reported == measured["mode"] == mode.replace("-", " ")
            assert abs(measured["peak_device_bytes"] / (1 << 20) - peak) < 0.051, (measured, peak)
            assert activations < peak and peak > WORKSPACE >> 20
            assert (measured["moved_bytes"] > 1e6) == (mode != "in-place"), measured
    assert len({read(os.path.join(folder, mode + ".npz")) for mode in ("in-place", "resident", "streamed")}) == 1
    report = os.path.join(folder, "online.json")
    good(*clip_of(24, "--mode", "online"), "-o", os.path.join(folder, "online.npz"), "--report", report)
    for measured in stages(report).values():
        assert measured["planned_device_bytes"] == measured["peak_device_bytes"], measured
    assert not [name for name in os.listdir(TEMPORARY) if name.endswith(".npz")]


def a_plan_runs_nothing():
    folder = place("nothing")
    done = good(SMALL, "--plan", "--grid", 3, "-o", os.path.join(folder, "t.npz"), "--report",
                os.path.join(folder, "r.json"), "--overlay", os.path.join(folder, "o.mp4"))
    assert os.listdir(folder) == [] and "24 frames" in done.stdout and "9 points" in done.stdout
    assert re.search(r"longest clip that fits: \d+", done.stdout)


def clip_of(frames, *more):
    return [SMALL, "--max-frames", frames, *FAST[2:], *more]


def a_budget_is_kept():
    folder = place("budget")
    how = clip_of(24, "--vo-points", 60, "--grid", 8)
    easy, tight = (os.path.join(folder, name) for name in ("easy", "tight"))
    good(*how, "-o", easy + ".npz", "--report", easy + ".json")
    most = max(stage["peak_device_bytes"] for stage in stages(easy + ".json").values())
    budget = most - (most - WORKSPACE) // 100
    good(*how, "-o", tight + ".npz", "--report", tight + ".json", "--vram-budget", budget)
    assert all(stage["peak_device_bytes"] <= budget for stage in stages(tight + ".json").values())
    assert read(easy + ".npz") == read(tight + ".npz")


def maps_wait_on_the_host_where_the_budget_asks_for_it():
    skip_when_sanitized(SPATRACK)  # "plan memory" is not
    folder = place("maps")
    for mode in ("offline", "online"):
        how = clip_of(24, "--mode", mode)
        easy, lean = (os.path.join(folder, mode + name) for name in ("easy", "lean"))
        plan = rows(good(*how, "--plan").stdout)
        assert plan["tracker"][0] == "in place", plan
        good(*how, "-o", easy + ".npz")
        budget = int((plan["tracker"][1][2] - 1) * (1 << 20))
        how += ["--geometry", easy + ".npz", "--vram-budget", budget]
        plan = rows(good(*how, "--plan").stdout)
        good(*how, "-o", lean + ".npz", "--report", lean + ".json")
        measured = stages(lean + ".json")["tracker"]
        assert plan["tracker"][0] == measured["mode"] == "in place, host maps", (plan, measured)
        assert measured["planned_device_bytes"] == measured["peak_device_bytes"] <= budget, measured
        assert measured["moved_bytes"] > 1e6, measured


def too_small_a_budget_says_what_fits():
    skip_when_sanitized(SPATRACK)
    folder = place("small")
    out = ["-o", os.path.join(folder, "t.npz")]
    many = ["--vo-points", 200, "--grid", 8]  # of which the memory is, not of one frame's encoding
    budget, reported = 32 << 20, None
    while reported is None and budget > WORKSPACE:
        done = run("-q", *clip_of(24, *many), "--plan", "--vram-budget", budget)
        if done.returncode == 5 and "--max-frames" in done.stderr:
            reported = int(re.search(r"--max-frames (\d+)", done.stderr).group(1))
        else:
            budget -= 1 << 20
    assert 0 < reported < 24, (reported, done.stderr)
    assert f"longest clip that fits: {reported} frames" in done.stdout, done.stdout
    line = refused(5, f"use --max-frames {reported}", *clip_of(24, *many), "--vram-budget", budget, *out)
    assert os.listdir(folder) == [] and "--vram-budget" in line
    good(*clip_of(reported, *many), "--vram-budget", budget, *out)
    os.remove(out[1])
    refused(5, "--max-frames", *clip_of(reported + 1, *many), "--vram-budget", budget, *out)
    refused(5, "not even one frame", *clip_of(24), "--vram-budget", "13M", *out)
    refused(5, "not even one frame", *clip_of(24), "--vram-budget", "1K", "--plan")
    assert os.listdir(folder) == []


def events(name):
    return report_of(name)["cache"]


def sleeping_changes_no_bit():
    folder = place("sleep")
    videos = [os.path.join(folder, name) for name in ("a.mp4", "b.mp4")]
    for video in videos:
        shutil.copy(SMALL, video)
    results = set()
    for after in ("stage", "video", "never", "0"):
        for level in (1, 2):
            out = place(f"sleep/{after}-{level}") + "/"
            good(*videos, *FAST, "-o", out, "--report", out, "--sleep-after", after, "--sleep-level", level,
                 "--weight-mode", "resident")
            results |= {read(out + name) for name in ("a.npz", "b.npz")}
            first, second = events(out + "a.json"), events(out + "b.json")
            check_events(after, level, first, second)
    assert len(results) == 1


def check_events(after, level, first, second):
    asleep = [event for event in first + second if event["event"] == "sleep"]
    loads = [event for event in second if event["event"] == "load"]
    if after == "never":
        assert asleep == [] and loads == [], second
        assert second == [] and first[-1]["device_bytes"] > WORKSPACE
        return
    assert {event["model"] for event in asleep} == {"front", "offline"}, asleep
    assert [event["model"] for event in loads] == ["front", "offline"], second
    if after in ("stage", "video"):
        last = asleep[-1]
        assert last["device_bytes"] == (WORKSPACE if level == 1 else 0), last
        assert (last["host_bytes"] > 4e6 and last["models"] == 2) if level == 1 else \
            last["host_bytes"] == last["models"] == 0, last
    if level == 2 and after in ("stage", "video"):
        assert [event["model"] for event in second if event["event"] == "wake"] == ["front", "offline"]
    loaded = [event["device_bytes"] for event in first if event["event"] == "load"]
    again = [event["device_bytes"] for event in loads]
    assert after == "0" or loaded == again, (loaded, again)  # no byte held twice


def a_model_leaves_where_another_needs_the_room():
    folder = place("room")
    names = [os.path.join(folder, name) for name in ("a.mp4", "b.mp4")]
    for name in names:
        os.symlink(SMALL, name)
    how = [*names, *FAST, "-o", folder + "/", "--report", folder + "/", "--weight-mode", "resident"]
    good(*how, "--sleep-after", "never")
    both = read(os.path.join(folder, "b.npz"))
    assert events(os.path.join(folder, "b.json")) == []
    budget = max(stage["peak_device_bytes"] for stage in stages(os.path.join(folder, "a.json")).values())
    for level in (1, 2):
        good(*how, "--sleep-after", "never", "--vram-budget", budget, "--sleep-level", level)
        found = events(os.path.join(folder, "b.json"))
        assert "front" in [event["model"] for event in found if event["event"] == "sleep"], found
        assert all(event["device_bytes"] <= budget for event in found)
        assert read(os.path.join(folder, "b.npz")) == both


def nothing_grows_over_many_videos():
    if is_sanitized(SPATRACK):
        raise Skip("AddressSanitizer keeps what is freed")
    folder = place("many")
    names = [os.path.join(folder, f"{i}.mp4") for i in range(10)]
    for name in names:
        os.symlink(BALL, name)
    for level in (1, 2):
        good(*names, *FAST, "--max-frames", 2, "-o", folder + "/", "--report", folder + "/", "--sleep-level", level,
             "--weight-mode", "streamed")
        rss = [events(os.path.join(folder, f"{i}.json"))[-1]["rss_bytes"] for i in range(10)]
        assert max(rss[5:]) < max(rss[2:5]) + (2 << 20), rss


def a_failure_does_not_stop_the_next():
    folder = place("failure")
    names = [os.path.join(folder, name) for name in ("good.mp4", "bad.mp4", "good2.mp4")]
    shutil.copy(SMALL, names[0])
    shutil.copy(SMALL, names[2])
    with open(names[1], "wb") as file:
        file.write(b"no video")
    done = run("-q", *names, *FAST)
    lines = complaints(done.stderr)
    assert done.returncode == 1 and len(lines) == 2, (done.returncode, lines)
    assert names[1] in lines[0] and "1 of 3 videos failed" in lines[1], lines
    assert {"good.npz", "good2.npz"} < set(os.listdir(folder)) and "bad.npz" not in os.listdir(folder)
    assert read(os.path.join(folder, "good.npz")) == read(os.path.join(folder, "good2.npz"))


def a_folder_takes_the_videos_name():
    folder = place("named")
    good(SMALL, *FAST, "-o", folder + "/", "--report", folder + "/")
    assert sorted(os.listdir(folder)) == ["small.json", "small.npz"]


def info_tells_what_there_is():
    text = good("--info").stdout
    assert re.search(r"^cpu: .* threads, .* MB of memory free$", text, re.M), text
    assert re.search(r"^front: [\d.]+ MB, built in$", text, re.M) and "sam-huge: none" in text, text
    assert re.search(r"^cuda: ", text, re.M), text


def sam_keeps_the_budget_too():
    folder = place("sam")
    synthetic("sam_tiny", ".local/share/spatrack/weights/sam-base")
    masks = set()
    for mode in ("in-place", "resident", "streamed"):
        mask, report = os.path.join(folder, "m.png"), os.path.join(folder, "r.json")
        how = [BALL, "--point", "240,180", "--mask-out", mask, "--stop-after", "sam", "--threads", 1,
               "--weight-mode", mode]
        plan = rows(good(*how, "--plan").stdout)
        good(*how, "--report", report)
        measured = stages(report)["sam"]
        assert measured["planned_device_bytes"] == measured["peak_device_bytes"], measured
        assert abs(plan["sam-base"][1][2] - measured["peak_device_bytes"] / (1 << 20)) < 0.051, plan
        masks.add(read(mask))
        os.remove(mask)
        good(*how, "--vram-budget", measured["peak_device_bytes"])
        refused(5, "SAM needs", *how, "--vram-budget", WORKSPACE + 1000)
        os.remove(mask)
    assert len(masks) == 1
    shutil.rmtree(os.path.join(TEMPORARY, ".local"))


def prepare_makes_a_copy_once():
    folder = place("prepare")
    front = synthetic("front_tiny", "prepare/front")
    how = [SMALL, *FAST, "--max-frames", 1, "--stop-after", "front", "--weights", folder]
    good(*how, "-o", os.path.join(folder, "before.npz"))
    assert "MB" in good("--prepare", "--weights", folder).stderr
    assert sorted(os.listdir(front)) == ["config.json", "model.compact.safetensors", "model.safetensors"]
    copy = os.path.join(front, "model.compact.safetensors")
    header = read(copy)
    metadata = json.loads(header[8:8 + int.from_bytes(header[:8], "little")])["__metadata__"]
    assert metadata["source_size"] == str(os.path.getsize(os.path.join(front, "model.safetensors")))
    made = os.stat(copy).st_ino
    assert "up to date" in good("--prepare", "--weights", folder).stderr and os.stat(copy).st_ino == made
    good(*how, "-o", os.path.join(folder, "after.npz"))  # the CPU computes in f32
    assert read(os.path.join(folder, "before.npz")) == read(os.path.join(folder, "after.npz"))
    refused(4, "no published weights of the front or of SAM", "--prepare")
    shutil.rmtree(front)
    refused(4, "front: no model.safetensors there", "--prepare", "--weights", folder)
    synthetic("sam_tiny", "prepare/sam-large")
    assert "sam-large/model.compact" in good("--prepare", "--weights", folder).stderr


def correlation(a, b):
    means = [sum(values) / len(values) for values in (a, b)]
    a, b = ([value - mean for value in values] for values, mean in zip((a, b), means))
    along, left, right = (sum(x * y for x, y in zip(*pair)) for pair in ((a, b), (a, a), (b, b)))
    return along / (left * right) ** 0.5


def bf16_is_close_to_f32_with_any_threads():
    folder, out = place("bf16"), {}
    for name, *flags in (("f32",), ("one", "--precision", "bf16", "--threads", 1),
                         ("three", "--precision", "bf16", "--threads", 3)):
        file = os.path.join(folder, name + ".npz")
        good(SMALL, "--max-frames", 2, "--stop-after", "front", "--device", "cpu", *flags, "-o", file)
        out[name] = read_npz(file)
    for array in ("depths", "confs_depth"):
        f32, one, three = (out[name][array] for name in ("f32", "one", "three"))
        assert one == three, array
        assert one != f32, "bf16 rounds nothing"
        assert correlation(one.values, f32.values) > 0.999, array


def bad_requests_are_refused():
    out = ["-o", os.path.join(place("bad"), "t.npz")]
    both = [SMALL, os.path.join(ROOT, "tests", "data", "..", "data", "small.mp4")]
    refused(2, "the results of two videos would go there", *both, "-o", TEMPORARY + "/")
    refused(2, "-o takes a folder", SMALL, "other.mp4", *out)
    refused(2, "--overlay works with a single video only", SMALL, "other.mp4", "--overlay", "o.mp4")
    refused(2, "standard input", SMALL, "-", "-o", TEMPORARY + "/")
    for size in ("", "4X", "0", "-1", "1G2", "G", "nan"):
        refused(2, "--vram-budget takes", SMALL, "--vram-budget=" + size, *out)
    for when in ("later", "-1", "1s"):
        refused(2, "--sleep-after takes", SMALL, "--sleep-after=" + when, *out)
    refused(2, "--sleep-level takes", SMALL, "--sleep-level", "3", *out)
    if "cuda: not built in" in good("--info").stdout:
        refused(6, "without CUDA", SMALL, "--device", "cuda", *out)


finish([the_plan_is_what_is_measured, a_plan_runs_nothing, a_budget_is_kept,
        maps_wait_on_the_host_where_the_budget_asks_for_it,
        too_small_a_budget_says_what_fits, sleeping_changes_no_bit,
        a_model_leaves_where_another_needs_the_room, nothing_grows_over_many_videos,
        a_failure_does_not_stop_the_next, a_folder_takes_the_videos_name, info_tells_what_there_is,
        sam_keeps_the_budget_too, prepare_makes_a_copy_once,
        bf16_is_close_to_f32_with_any_threads, bad_requests_are_refused])
