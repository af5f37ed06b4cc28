"""The program under test, run in a folder that goes away, and what it is run on.

    TEST SPATRACK SOURCE_ROOT SYNTH [part of a case's name]

are the arguments of every test that imports this; SYNTH is the build's program that writes synthetic
checkpoints. Needs only the standard library; clips are made with the ffmpeg program. Names of files are
those in the folder.
"""
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile

from arrays import write_npz
from tap import Skip, complaints, run_cases

SPATRACK, ROOT, SYNTH = map(os.path.abspath, sys.argv[1:4])
BALL = os.path.join(ROOT, "tests/data/ball.mp4")
SMALL = os.path.join(ROOT, "tests/data/small.mp4")  # as many frames, quick, where it does not matter what is seen
FAST = ["--max-frames", "3", "--vo-points", "20", "--grid", "2", "--iters", "1"]
TEMPORARY = tempfile.mkdtemp(prefix="spatrack-cli-")
ENVIRONMENT = {**{k: v for k, v in os.environ.items()
                  if k not in ("SPATRACK_WEIGHTS", "XDG_DATA_HOME")}, "HOME": TEMPORARY}

for number in (signal.SIGINT, signal.SIGQUIT):  # which a shell's background job hands on as ignored
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)


def path(*names):
    return os.path.join(TEMPORARY, *names)


def place(name):
    """A fresh folder."""
    os.makedirs(path(name))
    return path(name)


def write(name, data):
    with open(path(name), "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())
    return path(name)


def read(name):
    with open(path(name), "rb") as file:
        return file.read()


def report_of(name):
    return json.loads(read(name))


# Running -----------------------------------------------------------------------------------------

def run(*arguments, **more):
    how = {"cwd": TEMPORARY, "env": ENVIRONMENT, "stdin": subprocess.DEVNULL, **more}
    return subprocess.run([SPATRACK, *map(str, arguments)], capture_output=True, encoding="utf-8",
                          errors="replace", timeout=600, **how)


def good(*arguments, **more):
    done = run(*arguments, **more)
    assert done.returncode == 0, (done.returncode, done.stderr[-600:])
    return done


def files():
    """Size and time of every file of the folder."""
    found = [os.path.join(folder, name) for folder, _, names in os.walk(TEMPORARY) for name in names]
    return {name: (status.st_size, status.st_mtime_ns) for name in found for status in [os.lstat(name)]}


def refused(code, message, *arguments, **more):
    """A run that fails with one line, and leaves every file as it was. Returns the line."""
    before = files()
    done = run("-q", *arguments, **more)  # a slow machine reports progress
    lines = complaints(done.stderr)
    assert done.returncode == code, (done.returncode, lines)
    assert len(lines) == 1 and lines[0].startswith("spatrack: ") and message in lines[0], lines
    assert done.stdout == "" or "--plan" in arguments, done.stdout
    assert files() == before, files().keys() ^ before.keys()
    return lines[0]


def limited(kind, limit):
    """What a child does first, to be held to a resource."""
    return lambda: resource.setrlimit(kind, (limit, limit))


# What it is run on -------------------------------------------------------------------------------

def tool(*arguments):
    if not shutil.which(arguments[0]):
        raise Skip(f"there is no {arguments[0]}")
    return subprocess.run(arguments, check=True, cwd=TEMPORARY, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE).stdout


def ffmpeg(*arguments):
    return tool("ffmpeg", "-nostdin", "-v", "error", "-y", *arguments)


def clip(name, *arguments):
    """A clip made once, by name."""
    if not os.path.exists(path(name)):
        ffmpeg(*arguments, name)
    return path(name)


def turned(name, source, degrees):
    """The clip, to be shown turned clockwise. ffmpeg 6 and later have an option for that, and 7 no longer
    heeds the metadata."""
    if b"-display_rotation" in ffmpeg("-h", "full"):
        return clip(name, "-display_rotation", str(-degrees), "-i", source, "-c", "copy")
    return clip(name, "-i", source, "-c", "copy", "-metadata:s:v", f"rotate={degrees}")


def test_clip(name, size="96x72", frames=6, *more):
    """Five frames a second."""
    return clip(name, "-f", "lavfi", "-i", f"testsrc=s={size}:r=5", "-frames:v", str(frames),
                *(more or ("-c:v", "libx264", "-pix_fmt", "yuv420p")))


def geometry(folder, frames, h, w, **changes):
    """A flat wall 2 away, seen by a camera that stands still."""
    arrays = {"depths": ((frames, h, w), [2.0] * (frames * h * w)),
              "intrinsics": ((frames, 3, 3), [35, 0, w / 2, 0, 35, h / 2, 0, 0, 1] * frames),
              "extrinsics": ((frames, 4, 4),
                             [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1] * frames)}
    arrays.update(changes)
    name = path(folder, "geometry.npz")
    write_npz(name, **{k: v for k, v in arrays.items() if v})
    return name


def built_in(folder, model, change=lambda data: data, config=None):
    """The built-in checkpoint as a folder, as published ones are."""
    data = read(os.path.join(ROOT, f"src/lite/{model}.safetensors"))
    size = struct.unpack("<Q", data[:8])[0]
    metadata = json.loads(data[8:8 + size])["__metadata__"]
    os.makedirs(path(folder, model), exist_ok=True)
    write(os.path.join(folder, model, "model.safetensors"), change(data))
    write(os.path.join(folder, model, "config.json"), metadata["config"] if config is None else config)
    return path(folder)


def synthetic(manifest, folder):
    """A checkpoint of the published names, by the manifest of a golden."""
    os.makedirs(path(folder), exist_ok=True)
    subprocess.run([SYNTH, os.path.join(ROOT, f"tests/golden/manifest/{manifest}.json"), path(folder)],
                   check=True)
    return path(folder)


# The end -----------------------------------------------------------------------------------------

def finish(works, bad_cases=(), **more):
    """Runs all: functions, and (name, arguments, exit code, piece of the message) of what is refused when it
    is run with `more`."""
    def cases():
        for case in works:
            yield case.__name__, case
        for name, arguments, code, message in bad_cases:
            yield "refused: " + name, lambda a=arguments, c=code, m=message: refused(c, m, *a, **more)
    failures = run_cases(cases(), *sys.argv[4:5])
    shutil.rmtree(TEMPORARY)
    sys.exit(failures > 0)
