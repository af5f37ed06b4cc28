#!/usr/bin/env python3
"""Intermediate tensors of a run, and what finds the first that differs. Prints TAP."""
import json
import os
import shutil
import struct
import subprocess
import sys

from program import FAST, ROOT, SMALL, finish, good, path, place, read, run, write

RUN = [SMALL, *FAST, "--iters", 2]


def header(name):
    data = read(name)
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + size]), data[8 + size:]


def dumped(name, *arguments):
    if not os.path.exists(path(name)):
        good(*RUN, *arguments, "--dump", name, "-o", name + ".npz")
    return path(name)


def first_difference(*arguments):
    return subprocess.run([sys.executable, os.path.join(ROOT, "tests/parity/first_difference"), *arguments],
                          capture_output=True, text=True, check=False)


def a_dump_changes_no_result():
    dumped("seen")
    good(*RUN, "-o", "unseen.npz")
    assert read("seen.npz") == read("unseen.npz")


def tensors_are_named_as_the_goldens_are():
    folder = dumped("seen")
    names = read("seen/order.txt").decode().split()
    assert len(names) == len(set(names)) > 30, names
    assert names[0].startswith("front/") and names[-1].startswith("tracker/"), names
    for golden in ("front/camera", "front/dpt"):
        tensors, _ = header(os.path.join(ROOT, f"tests/golden/{golden}.safetensors"))
        assert sum(f"{golden}/{name}" in names for name in tensors) >= 4, (golden, names)
    for name in names:
        tensors, data = header(os.path.join(folder, name + ".safetensors"))
        (tensor,) = tensors.values()
        count = 1
        for size in tensor["shape"]:
            count *= size
        assert 4 * count == len(data) == tensor["data_offsets"][1], name
    assert header("seen/front/camera/delta.safetensors")[0]["delta"]["shape"] == [3, 9]
    (stack,) = header("seen/tracker/fnet/start.pyramid3.safetensors")[0].values()
    assert stack["shape"] == [3, 32, 6, 8], stack
    assert not [name for _, _, names in os.walk(folder) for name in names if name.endswith(".part")]


def the_same_run_agrees():
    done = first_difference(dumped("seen"), dumped("again"))
    assert done.returncode == 0 and "tensors agree, to 0 of" in done.stdout, done


def the_first_difference_is_found():
    names = read(os.path.join(dumped("seen"), "order.txt")).decode().split()
    shutil.copytree(path("seen"), path("changed"))
    for k in (len(names) // 2, len(names) - 1):
        name = os.path.join("changed", names[k] + ".safetensors")
        data = read(name)
        write(name, data[:-4] + struct.pack("<f", 1e6))
    done = first_difference(path("seen"), path("changed"))
    assert done.returncode == 1, done
    assert done.stdout.startswith(names[len(names) // 2] + " is the first of "), done.stdout
    assert "not 1000000" in done.stdout, done.stdout


def another_setting_differs_where_it_acts():
    done = first_difference(dumped("seen"), dumped("seeded", "--seed", 1))
    assert done.returncode == 1 and done.stdout.startswith("tracker/"), done


def nothing_in_common_is_no_success():
    done = first_difference(dumped("seen"), os.path.join(ROOT, "tests/golden/tracker/rng.safetensors"))
    assert done.returncode == 2, done


def a_failed_run_leaves_no_parts():
    os.symlink("/dev/full", path("full.npz"))
    done = run("-q", *RUN, "--dump", "failed", "-o", "full.npz")
    assert done.returncode == 7 and "No space left" in done.stderr, done
    assert not [name for _, _, names in os.walk(path("failed")) for name in names]


def bad_cases():
    folder = place("bad")
    out = ["-o", os.path.join(folder, "t.npz")]
    file = write(os.path.join(folder, "file"), "a file")
    yield "a file", [*RUN, *out, "--dump", file], 7, "cannot write"
    yield "below a file", [*RUN, *out, "--dump", os.path.join(file, "folder")], 7, "Not a directory"
    yield "several videos", [SMALL, SMALL, "-o", folder + "/", "--dump", "d"], 2, "--dump works with a single video only"


finish([a_dump_changes_no_result, tensors_are_named_as_the_goldens_are, the_same_run_agrees,
        the_first_difference_is_found, another_setting_differs_where_it_acts,
        nothing_in_common_is_no_success, a_failed_run_leaves_no_parts], bad_cases())
