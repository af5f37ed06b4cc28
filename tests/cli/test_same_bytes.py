#!/usr/bin/env python3
"""The same bytes in every format, whatever the threads, the memory's plan and the company. Prints TAP."""
import os

from program import SPATRACK, finish, good, path, place, test_clip
from tap import skip_when_sanitized

SHORT = ["--vo-points", 30, "--grid", 3, "--iters", 2, "-q"]
# What one run writes, each format that there is; what cannot be beside it is in another set.
EVERYTHING = [
    ["-o", "{}.npz", "--overlay", "{}.mp4", "--usd", "{}.usda", "--usd-cloud", "--cameras", "{}.json", "--ply",
     "{}.ply", "--colmap", "{}-model", "--depth", "{}-depth", "--viewer", "{}.html"],
    ["-o", "{}.csv", "--overlay", "{}.png", "--cameras", "{}.chan", "--ply", "{}-%02d.ply", "--depth", "{}-depth",
     "--depth-format", "png"],
]


def outputs(video):
    return [[argument.format(video) if isinstance(argument, str) else argument for argument in one] for one in EVERYTHING]


def made(folder, *how, video="clip.mp4", shape=("96x72", 9)):
    """Every byte that runs of those flags write: {path in the folder: bytes}."""
    place(folder)
    source = test_clip(video, *shape)
    for flags in outputs(video[:-4]):
        good(source, *SHORT, *flags, *how, cwd=path(folder))
    return bytes_in(folder)


def bytes_in(folder):
    found = {}
    for at, _, names in os.walk(path(folder)):
        for name in names:
            with open(os.path.join(at, name), "rb") as file:
                found[os.path.relpath(os.path.join(at, name), path(folder))] = file.read()
    return found


def differ(found, expected):
    return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))


first = {}


def usual():
    if not first:
        first.update(made("usual"))
        kinds = {os.path.splitext(name)[1] for name in first}
        assert {".npz", ".csv", ".mp4", ".png", ".usda", ".json", ".chan", ".ply", ".exr", ".html", ".txt"} <= kinds, kinds
    return first


def another_run_gives_them():
    assert not differ(made("again"), usual())


def any_threads_give_them():
    for threads in (1, 2, 4):
        assert not differ(made(f"threads{threads}", "--threads", threads), usual()), threads


def any_plan_of_the_memory_gives_them():
    skip_when_sanitized(SPATRACK)  # "plan memory" is not
    for name, *how in (("resident", "--weight-mode", "resident"), ("streamed", "--weight-mode", "streamed"),
                       ("asleep", "--sleep-after", "stage", "--sleep-level", 2),
                       ("tight", "--vram-budget", "18M", "--threads", 1)):
        assert not differ(made(name, *how), usual()), name


def online_windows_and_chunks_do_too():
    """As a clip in memory and as one that streams, which some formats cannot."""
    how = ["--mode", "online", "--front-chunk", 12, "--front-overlap", 4]
    clip = {"video": "long.mp4", "shape": ("96x32", 30)}
    whole = made("online", *how, **clip)
    for threads in (1, 4):
        assert not differ(made(f"online{threads}", *how, "--threads", threads, **clip), whole), threads
    place("flow")
    good(path("long.mp4"), *SHORT, *how, "-o", "long.npz", "--overlay", "long.mp4", cwd=path("flow"))
    streamed = bytes_in("flow")
    assert streamed == {name: whole[name] for name in streamed}, differ(streamed, whole)


def others_beside_it_change_nothing():
    skip_when_sanitized(SPATRACK)
    sources = [test_clip("clip.mp4", "96x72", 9), test_clip("other.mp4", "72x96", 7), test_clip("third.mp4", "96x48", 5)]
    alone = place("alone")
    for source in sources:
        good(source, *SHORT, cwd=alone)
    for jobs in (1, 2):
        place(f"jobs{jobs}")
        good(*sources, *SHORT, "--jobs", jobs, cwd=path(f"jobs{jobs}"))
        assert not differ(bytes_in(f"jobs{jobs}"), bytes_in("alone")), jobs


def exports_of_the_finished_result_are_those_of_the_run():
    usual()
    place("later")
    for flags in outputs("clip"):
        good(path("usual", "clip.npz"), "-q", *flags[2:], "--video", path("clip.mp4"), cwd=path("later"))
    found = bytes_in("later")
    expected = {name: data for name, data in usual().items() if name not in ("clip.npz", "clip.csv")}
    page, other = (each.pop("clip.html") for each in (found, expected))  # which names the file it is of
    assert abs(len(page) - len(other)) < 100
    assert not differ(found, expected), differ(found, expected)


finish([another_run_gives_them, any_threads_give_them, any_plan_of_the_memory_gives_them,
        online_windows_and_chunks_do_too, others_beside_it_change_nothing,
        exports_of_the_finished_result_are_those_of_the_run])
