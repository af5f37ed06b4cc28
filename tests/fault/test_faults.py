#!/usr/bin/env python3
"""Every call of a run fails once, kind by kind. Prints TAP.

    tests/fault/test_faults.py SPATRACK_FAILING SOURCE_ROOT SYNTH ALLOCATIONS OTHERS [part of a case's name [KIND]]

So many calls of each kind (failing.c) are tried a case, evenly spread when there are more; 0: all of them; "places":
the first and the last from each place, that is from each chain of callers in the program. With no more than FEW_OTHERS the kinds other than allocations are tried in the modes of SOME alone, as CI does.

Whatever call fails, the program ends with an exit status of the man page and one line (allocations: 5), or
goes on with a warning or the same bytes. Every output is the old one or whole, and nothing is left behind
(built with AddressSanitizer: not even memory).
"""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

PROGRAM, ROOT, SYNTH = map(os.path.abspath, sys.argv[1:4])
EACH_PLACE = -1
ALL = 1 << 30
ALLOCATIONS, OTHERS = (EACH_PLACE if count == "places" else int(count) or ALL for count in sys.argv[4:6])
CASE, KIND = (sys.argv[6:] + ["", ""])[:2]
KINDS = ("alloc", "open", "read", "write", "sync", "close", "rename", "map", "start", "ffmpeg", "png", "deflate")  # as in failing.c
FEW_OTHERS, SOME = 4, ("whole run", "a clip that streams", "folders", "a batch of a list")
NO_MEMORY = 5
STATUSES = {1, 2, 3, 4, 5, 6, 7}  # man/spatrack.1, "EXIT STATUS"
NOTES = ("using the built-in", "left out", "using the CPU", " done, ", " tracks, ", "no track stands still")
FEW = ["--vo-points", "20", "--grid", "2", "--iters", "1"]
FAST = ["--max-frames", "2", *FEW]
LONG = ["--max-frames", "24", *FEW, "--front-chunk", "9", "--mode", "online", "--fixed-camera"]


def make(*arguments):
    subprocess.run([PROGRAM, *arguments, "-q"], check=True, stderr=subprocess.DEVNULL)


def cases(folder):
    """Name: arguments, and what they write in the working folder."""
    def at(name, text=None):
        if text is not None:
            with open(os.path.join(folder, name), "w") as file:
                file.write(text)
        return os.path.join(folder, name)
    clip, geometry, whole, other = at("clip.mp4"), at("g.npz"), at("whole.npz"), at("other.npz")
    subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=96x32:r=12", "-frames:v", "24",
                    "-c:v", "libx264", "-pix_fmt", "yuv420p", clip], check=True, stdin=subprocess.DEVNULL)
    shutil.copy(clip, at("second.mp4"))
    make(clip, "--stop-after", "front", "-o", geometry, *FAST[:2])
    make(clip, *FAST, "--max-side", "32", "-o", whole)
    make(clip, *FAST, "--seed", "1", "-o", other)
    queries, late = at("q.csv", "0,1,1\n" * 300), at("late.csv", "0,60,20\n1,30,10\n")
    weights = at("spatrack/weights/sam-base")
    os.makedirs(weights)
    subprocess.run([SYNTH, os.path.join(ROOT, "tests/golden/manifest/sam_tiny.json"), weights], check=True)
    given = [clip, "--geometry", geometry, "--max-frames", "2", "--vo-points", "0", "--iters", "1"]
    result = ["-o", "t.npz"]
    small = [*result, "--max-side", "32"]  # whose files take few calls
    return {
        "whole run with a report": ([clip, *FAST, *result, "--report", "r.json"], ["t.npz", "r.json"]),
        "the front in chunks": ([clip, "--max-frames", "5", "--front-chunk", "2", "--stop-after", "front", "-q", *result],
                                ["t.npz"]),
        "a clip that streams": ([clip, *LONG, "--overlay", "o.mp4", "-q", *result], ["t.npz", "o.mp4"]),
        "new grids on the way": ([clip, *LONG, "--grid-every", "7", "-q", "-o", "t.csv"], ["t.csv"]),
        "streamed weights, sleeping in full": ([clip, *FAST, "--weight-mode", "streamed", "--sleep-level", "2", "-q",
                                                *result], ["t.npz"]),
        "resident weights": ([clip, *FAST, "--weight-mode", "resident", *result], ["t.npz"]),
        "refinement, which reads the video again": ([*given, "--queries", late, "--refine", "on", *result], ["t.npz"]),
        "a plan": ([clip, *FAST, "--plan"], []),
        "given geometry and queries": ([*given, "--queries", queries, *result], ["t.npz"]),
        "an overlay and a sheet": ([clip, *FAST, "--overlay", "o.png", *result], ["t.npz", "o.png"]),
        "exports": ([clip, *FAST, *small, "--usd", "s.usda", "--usd-cloud", "--cameras", "s.json", "--ply", "s.ply",
                     "--viewer", "s.html"], ["t.npz", "s.usda", "s.json", "s.ply", "s.html"]),
        "folders": ([*given, "--grid", "2", *small, "--colmap", "m", "--depth", "d", "--ply", "c%d.ply"], ["t.npz"]),
        "depth as PNG": ([*given, "--grid", "2", *small, "--depth", "e", "--depth-format", "png"], ["t.npz"]),
        "exports from a finished result": ([whole, "--usd", "s.usda", "--usd-cloud", "--ply", "s.ply", "--overlay",
                                            "o.mp4", "--video", clip, "--report", "r.json"],
                                           ["s.usda", "s.ply", "o.mp4", "r.json"]),
        "a point's mask": ([*given, "--point", "cup=50,16", "--mask-out", "m.png", "--grid", "3", *result],
                           ["t.npz", "m.png"]),
        "a batch of a list": (["--list", at("list.txt", f"{clip}\ta.npz\n{at('second.mp4')}\tb.npz\n"), *FAST, "-q",
                               "--skip-done"], ["a.npz", "b.npz"]),
        "a batch side by side": ([clip, at("second.mp4"), "--jobs", "2", *FAST, "-q", "-o", "./", "--report", "r.jsonl"],
                                 ["clip.npz", "second.npz", "r.jsonl"]),
        "a comparison": (["--compare", whole, other], []),
        "what there is": (["--info"], []),
    }


def run(arguments, folder, **settings):
    # The CUDA runtime, where it is built in, does not survive a failed allocation.
    device = ["--device", "cpu"] if "--iters" in arguments or "--stop-after" in arguments else []
    return subprocess.run([PROGRAM, *arguments, *device], capture_output=True, text=True, cwd=folder,
                          stdin=subprocess.DEVNULL, timeout=300,
                          env={**os.environ, **{"SPATRACK_FAIL_" + k: str(v) for k, v in settings.items()}})


class Case:
    def __init__(self, folder, arguments, outputs):
        self.folder, self.arguments, self.outputs = folder, arguments, outputs
        self.batch = "--list" in arguments or "--jobs" in arguments

    def start(self, name, old=None, **settings):
        """One run in a folder of its own: how it ended, how many calls of each kind it made, its files."""
        folder, count = os.path.join(self.folder, name), os.path.join(self.folder, name + "-count")
        os.makedirs(folder)
        for output in self.outputs if old else ():
            with open(os.path.join(folder, output), "wb") as file:
                file.write(old)
        done = run(self.arguments, folder, COUNT=count, **settings)
        with open(count, "rb") as file:
            calls = dict(zip(KINDS, struct.unpack(f"={len(KINDS)}q", file.read()), strict=True))
        os.remove(count)
        files = {}
        for at, _, names in os.walk(folder):
            for each in names:
                with open(os.path.join(at, each), "rb") as file:
                    files[os.path.relpath(os.path.join(at, each), folder)] = file.read()
        shutil.rmtree(folder)
        return done, calls, files

    def known(self):
        places = os.path.join(self.folder, "places")
        done, calls, files = self.start("whole", **({"PLACES": places} if EACH_PLACE in (ALLOCATIONS, OTHERS) else {}))
        assert done.returncode == ("--compare" in self.arguments), done.stderr  # of results that differ
        self.first, self.last = {}, {}  # call of each kind and place
        if os.path.exists(places):
            with open(places) as file:
                for kind, call, place in map(str.split, file):
                    self.first.setdefault((kind, place), int(call))
                    self.last[kind, place] = int(call)
        self.whole = files
        self.status, self.said = done.returncode, done.stdout
        return calls

    def tried(self, kind, calls):
        most = ALLOCATIONS if kind == "alloc" else OTHERS
        if most == EACH_PLACE:
            return sorted({call for calls in (self.first, self.last) for (of, _), call in calls.items() if of == kind})
        most = min(most, calls)
        return sorted({1 + i * (calls - 1) // max(1, most - 1) for i in range(most)})

    def check(self, kind, call):
        old = None if self.batch else b"old"
        done, calls, files = self.start(f"{kind}-{call}", old, KIND=kind, AT=call)
        if calls[kind] < call:  # a plan measures for a time, with more or fewer calls
            return
        said = f"{kind} {call}: exit status {done.returncode}, files {sorted(files)}, said: {done.stderr[-2500:]}"
        assert "AddressSanitizer" not in done.stderr and "LeakSanitizer" not in done.stderr, said
        noted = False
        lines = [line for line in done.stderr.splitlines() if not any(note in line for note in NOTES)]
        warnings = sum("frames can be read" in line or "are damaged" in line for line in lines)
        most = (3 if self.batch else 1) + warnings
        if done.returncode == self.status:
            other = self.others(files, done)
            noted = bool(other) and not lines and self.is_noted(kind, call)
            assert lines or noted or not other, f"{', '.join(other)}: not the same, and nothing said: {said}"
        else:
            assert done.returncode in STATUSES and 1 <= len(lines) <= most, said
            assert kind != "alloc" or done.returncode == NO_MEMORY or self.batch, said
        warned = done.returncode == self.status and lines
        for name, data in files.items():
            assert os.path.basename(name)[0] != ".", "left behind: " + said
            assert data == old or warned or noted or self.is_whole(name, data), f"{name} is neither old nor whole: {said}"
        if old:
            assert set(self.outputs) <= set(files), "an old output is lost: " + said

    def is_noted(self, kind, call):
        """Whether without -q the same run says that it is another codec that the overlay is in: no loss, so only a note."""
        loud = Case(self.folder, [word for word in self.arguments if word != "-q"], self.outputs)
        return "this FFmpeg cannot encode H.264" in loud.start(f"{kind}-{call}-loud", KIND=kind, AT=call)[0].stderr

    def others(self, files, done):
        """What is not as it was without a failure; what --plan and --info say depends on the moment."""
        printed = "--plan" in self.arguments or "--info" in self.arguments or done.stdout == self.said
        return [name for name in self.whole if not self.is_whole(name, files.get(name))] + ["standard output"] * (not printed)

    def is_whole(self, name, data):
        if data is None or name not in self.whole:
            return False
        if name.endswith((".json", ".jsonl")) and "report" in "".join(self.arguments):
            return all(isinstance(json.loads(line), dict) for line in
                       (data.decode().splitlines() if name.endswith("l") else [data]))  # has times in it
        return data == self.whole[name]


def main():
    failures = count = 0
    with tempfile.TemporaryDirectory() as root, ThreadPoolExecutor(os.cpu_count()) as pool:
        os.environ["XDG_DATA_HOME"] = root
        for name, (arguments, outputs) in cases(root).items():
            if CASE not in name:
                continue
            all_kinds = OTHERS == EACH_PLACE or OTHERS > FEW_OTHERS or name.startswith(SOME)
            case = Case(os.path.join(root, "case"), arguments, outputs)
            made = case.known()
            for kind in (KIND,) if KIND else KINDS if all_kinds else KINDS[:1]:
                calls, tried = made[kind], case.tried(kind, made[kind])

                def attempt(call):
                    try:
                        case.check(kind, call)
                        return None
                    except (AssertionError, subprocess.TimeoutExpired) as error:
                        return str(error)
                wrong = [error for error in pool.map(attempt, tried) if error]
                count += 1
                failures += bool(wrong)
                print(f"{'not ' if wrong else ''}ok {count} - {name}: {kind}, {len(tried)} of {calls} calls failed",
                      flush=True)
                print("".join(f"# {line}\n" for error in wrong for line in error.splitlines()), end="", flush=True)
            shutil.rmtree(case.folder)
    print(f"1..{count}")
    sys.exit(failures > 0)


main()
