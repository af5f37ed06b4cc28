#!/usr/bin/env python3
"""Every allocation of a run fails once. Prints TAP.

    tests/fault/test_faults.py SPATRACK_FAILING SOURCE_ROOT SYNTH MOST [part of a case's name]

MOST calls are tried a case, evenly spread when there are more.

Whatever call fails, the program ends with exit code 5 and one line, the old result stays, and
nothing is left behind (built with AddressSanitizer: not even memory).
"""
import os
import subprocess
import sys
import tempfile

PROGRAM, ROOT, SYNTH = map(os.path.abspath, sys.argv[1:4])
MOST = int(sys.argv[4])


def cases(folder):
    ball = os.path.join(ROOT, "tests/data/ball.mp4")
    fast = ["--max-frames", "2", "--vo-points", "20", "--grid", "2", "--iters", "1"]
    queries, geometry = os.path.join(folder, "q.csv"), os.path.join(folder, "g.npz")
    with open(queries, "w") as file:
        file.write("0,1,1\n" * 300)
    subprocess.run([PROGRAM, ball, "--stop-after", "front", "-o", geometry, *fast[:2]], check=True,
                   stderr=subprocess.DEVNULL)
    yield "whole run with a report", [ball, *fast, "--report", os.path.join(folder, "r.json")]
    yield "the front in chunks", [ball, "--max-frames", "5", "--front-chunk", "2", "--stop-after", "front", "-q"]
    yield "a clip that streams", [ball, *fast[2:], "--max-frames", "24", "--front-chunk", "9", "--mode", "online", "--fixed-camera",
                                  "--overlay", os.path.join(folder, "stream.mp4"), "-q"]
    yield "new grids on the way", [ball, *fast[2:], "--max-frames", "24", "--front-chunk", "9", "--mode", "online",
                                   "--fixed-camera", "--grid-every", "7", "--overlay", os.path.join(folder, "grids.mp4"), "-q"]
    yield "streamed weights, sleeping in full", [ball, *fast, "--weight-mode", "streamed", "--sleep-level", "2",
                                                 "--report", os.path.join(folder, "r2.json")]
    yield "resident weights", [ball, *fast, "--weight-mode", "resident"]
    late = os.path.join(folder, "late.csv")
    with open(late, "w") as file:
        file.write("0,240,180\n1,100,100\n")
    yield "refinement, which reads the video twice more", [ball, "--geometry", geometry, "--queries", late,
                                                           "--max-frames", "2", "--vo-points", "0", "--iters", "1",
                                                           "--refine", "on"]
    yield "a plan", [ball, *fast, "--plan"]
    yield "given geometry and queries", [ball, "--geometry", geometry, "--queries", queries,
                                         "--max-frames", "2", "--vo-points", "0", "--iters", "1"]
    for name in ("o.mp4", "o.png"):
        yield "overlay " + name, [ball, *fast, "--overlay", os.path.join(folder, name)]
    yield "exports", [ball, *fast, "--usd", os.path.join(folder, "s.usda"), "--usd-cloud", "--cameras",
                      os.path.join(folder, "s.json"), "--ply", os.path.join(folder, "s.ply"), "--viewer",
                      os.path.join(folder, "s.html")]
    yield "folders", [ball, "--geometry", geometry, *fast, "--colmap", os.path.join(folder, "m"), "--depth",
                      os.path.join(folder, "d"), "--ply", os.path.join(folder, "c%d.ply")]
    yield "depth as PNG", [ball, "--geometry", geometry, *fast, "--depth", os.path.join(folder, "e"), "--depth-format",
                           "png"]
    whole = os.path.join(folder, "whole.npz")
    subprocess.run([PROGRAM, ball, *fast, "-o", whole], check=True, stderr=subprocess.DEVNULL)
    yield "exports from a finished result", [whole, "--usd", os.path.join(folder, "s2.usda"), "--usd-cloud", "--ply",
                                             os.path.join(folder, "s2.ply"), "--overlay", os.path.join(folder, "o2.mp4"),
                                             "--video", ball, "--report", os.path.join(folder, "r3.json")]
    os.environ["XDG_DATA_HOME"] = folder
    weights = os.path.join(folder, "spatrack/weights/sam-base")
    os.makedirs(weights)
    subprocess.run([SYNTH, os.path.join(ROOT, "tests/golden/manifest/sam_tiny.json"), weights], check=True)
    yield "a point's mask", [ball, "--geometry", geometry, "--point", "cup=240,180", "--mask-out",
                             os.path.join(folder, "m.png"), "--grid", "3", "--max-frames", "2",
                             "--vo-points", "0", "--iters", "1"]
    yield "front alone", [ball, "--stop-after", "front", "--max-frames", "1"]


def run(arguments, out, **settings):
    # The CUDA runtime, where it is built in, does not survive a failed allocation.
    device = [] if arguments[0].endswith(".npz") else ["--device", "cpu"]
    return subprocess.run([PROGRAM, *arguments, *device, "-o", out], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=120,
                          env={**os.environ, **{k: str(v) for k, v in settings.items()}})


def made(count):
    """The calls that a run made."""
    with open(count) as file:
        return int(file.read())


def check(folder, arguments):
    """Fails each call in turn; returns how many were tried."""
    os.makedirs(os.path.join(folder, "out"))
    out, count = os.path.join(folder, "out", "t.npz"), os.path.join(folder, "count")
    done = run(arguments, out, SPATRACK_FAIL_COUNT=count)
    assert done.returncode == 0, done.stderr
    calls = made(count)
    tried = sorted({1 + i * (calls - 1) // max(1, min(MOST, calls) - 1)
                    for i in range(min(MOST, calls))})
    for call in tried:
        with open(out, "wb") as file:
            file.write(b"old")
        done = run(arguments, out, SPATRACK_FAIL_AT=call, SPATRACK_FAIL_COUNT=count)
        if done.returncode == 0 and made(count) < call:  # a plan measures for a time, with more or fewer calls
            continue
        lines = [line for line in done.stderr.splitlines()
                 if not any(note in line for note in ("using the built-in", "left out", "using the CPU"))]
        assert done.returncode == 5 and len(lines) == 1, (call, done.returncode, done.stderr[-3000:])
        with open(out, "rb") as file:
            assert file.read() == b"old", call
        assert os.listdir(os.path.dirname(out)) == ["t.npz"], call
        beside = [name for _, names, files in os.walk(os.path.dirname(folder)) for name in names + files]
        assert not [name for name in beside if name.startswith(".")], (call, beside)
    return calls, len(tried)


def main():
    failures = count = 0
    with tempfile.TemporaryDirectory() as root:
        only = sys.argv[5] if len(sys.argv) > 5 else ""
        for name, arguments in cases(root):
            if only not in name:
                continue
            count += 1
            folder = os.path.join(root, str(count))
            try:
                calls, tried = check(folder, arguments)
                print(f"ok {count} - {name}: {tried} of {calls} allocations failed", flush=True)
            except AssertionError as error:
                failures += 1
                print(f"not ok {count} - {name}\n# {error}", flush=True)
    print(f"1..{count}")
    sys.exit(failures > 0)


main()
