#!/usr/bin/env python3
"""No file of the user's is lost to a name: what an output may replace, what it may not, pipes, modes. Prints TAP."""
import os
import shutil
import socket
import stat
import subprocess
import time

from arrays import read_npz, write_npz, write_png
from program import (BALL, ENVIRONMENT, FAST, SMALL, SPATRACK, TEMPORARY, built_in, files, finish, geometry, good,
                     path, place, read, report_of, run, write)
from tap import complaints, skip_when_sanitized

POINT = ["--point", "240,180"]


def at(*names):
    return path("names", *names)


def make_inputs():
    """Of every kind, in one folder."""
    place("names")
    shutil.copy(BALL, at("clip.mp4"))
    shutil.copy(BALL, at("other.mp4"))
    shutil.copy(at("clip.mp4"), at("clip.npz"))  # a video of a result's name
    write(at("q.csv"), "t,x,y\n0,240,180\n")
    write_png(at("m.png"), 480, [b"\xff" * 480] * 360)
    geometry("names", 3, 4, 5)
    for folder in ("frames", "numbered", "sub", "dump/front"):
        os.makedirs(at(folder))
    for i in range(1, 4):
        write_png(at(f"frames/{i}.png"), 64, [bytes([60 * i]) * 64] * 48)
        shutil.copy(at(f"frames/{i}.png"), at(f"numbered/f{i:03d}.png"))
    os.symlink("../clip.mp4", at("sub/link.json"))
    os.link(at("clip.mp4"), at("sub/hard.json"))
    os.link(at("frames/1.png"), at("sub/hard.png"))
    os.symlink("../frames/2.png", at("sub/link.png"))
    os.symlink("../frames", at("sub/frames"))
    os.symlink("new.npz", at("sub/dangling.npz"))
    shutil.copy(at("frames/3.png"), at("sub/behind.png"))
    os.symlink("../sub/behind.png", at("frames/4.png"))
    os.symlink("../sub/behind.png", at("numbered/f004.png"))
    os.link(at("numbered/f001.png"), at("sub/hard2.png"))
    os.symlink("../numbered/f009.png", at("sub/next.png"))
    os.symlink("q.csv", at("q2.csv"))
    shutil.copy(at("q.csv"), at("dump/order.txt"))
    shutil.copy(at("geometry.npz"), at("dump/front/g.safetensors"))
    for model in ("front", "offline"):
        built_in("names/weights", model)


def replacing_cases():
    """(name, arguments, pieces of the line) of runs in which an output is an input or another output."""
    out, clip = ["-o", "a.npz"], "clip.mp4"
    video = ("--report", "the video", "VIDEO")
    for name in ("clip.mp4", "./clip.mp4", ".//clip.mp4", "sub/../clip.mp4", at("clip.mp4"), "sub/link.json",
                 "sub/hard.json"):
        yield f"report {name} is the video", [clip, *out, "--report", name], video
    yield "report is standard input", ["-", *out, "--report", "clip.mp4"], video
    yield "report is what /dev/stdin is", ["/dev/stdin", *out, "--report", "clip.mp4"], video
    yield "default result is the video", ["clip.npz"], ("clip.npz", "-o", "VIDEO")
    yield "result is the geometry", [clip, "--geometry", "geometry.npz", "-o", "geometry.npz"], ("-o", "--geometry")
    yield "report is the geometry", [clip, *out, "--geometry", "geometry.npz", "--report", "./geometry.npz"], \
        ("--report", "--geometry")
    yield "csv is the queries", [clip, "--queries", "q.csv", "-o", "q.csv"], ("-o", "--queries")
    yield "csv is a link to the queries", [clip, "--queries", "q.csv", "-o", "q2.csv"], ("-o", "--queries")
    yield "sheet is the mask", [clip, *out, "--mask", "m.png", "--overlay", ".//m.png"], ("--overlay", "--mask")
    yield "report is the result", [clip, *out, "--report", "a.npz"], ("--report", "-o", "the result")
    yield "report is the new result", [clip, "-o", "new.npz", "--report", "./sub/..//new.npz"], ("--report", "-o")
    yield "result behind a dangling link", [clip, "-o", "sub/new.npz", "--report", "sub/dangling.npz"], \
        ("--report", "-o")
    yield "report is the default result", ["other.mp4", "--report", "other.npz"], ("--report", "-o")
    yield "mask is the sheet", [clip, *POINT, *out, "--overlay", "o.png", "--mask-out", "sub/../o.png"], \
        ("--mask-out", "--overlay")
    yield "mask is the report", [clip, *POINT, *out, "--report", "o.png", "--mask-out", "./o.png"], \
        ("--mask-out", "--report")

    frames = ["frames", *out]
    images = ("frames", "--overlay", "VIDEO")
    yield "sheet is an image", [*frames, "--overlay", "frames/1.png"], images
    yield "sheet would be an image", [*frames, "--overlay", "./frames//new.png"], images
    yield "sheet would be an image by a link", [*frames, "--overlay", "sub/frames/new.png"], images
    yield "report is an image", [*frames, "--report", "frames/2.png"], ("--report", "VIDEO")
    yield "report would be an image", [*frames, "--report", "frames/new.JPG"], ("--report", "VIDEO")
    yield "sheet leads to an image", [*frames, "--overlay", "sub/link.png"], ("--overlay", "VIDEO")
    yield "sheet is an image too", [*frames, "--overlay", "sub/hard.png"], ("--overlay", "VIDEO")
    yield "an image leads to the sheet", [*frames, "--overlay", "sub/behind.png"], ("--overlay", "VIDEO")
    yield "mask would be an image", [*frames, *POINT, "--mask-out", "frames/m.png"], ("--mask-out", "VIDEO")
    yield "report is the folder", [*frames, "--report", "frames"], ("--report", "VIDEO")
    numbered = ["numbered/f%03d.png", *out]
    yield "sheet is of the pattern", [*numbered, "--overlay", "numbered/f002.png"], ("--overlay", "VIDEO")
    yield "sheet would be of the pattern", [*numbered, "--overlay", "./numbered//f017.png"], ("--overlay", "VIDEO")
    yield "report would be of the pattern", [*numbered, "--report", "numbered/f005.png"], ("--report", "VIDEO")
    yield "sheet leads into the pattern", [*numbered, "--overlay", "sub/next.png"], ("--overlay", "VIDEO")
    yield "sheet is of the pattern too", [*numbered, "--overlay", "sub/hard2.png"], ("--overlay", "VIDEO")
    yield "an image of the pattern leads to it", [*numbered, "--overlay", "sub/behind.png"], ("--overlay", "VIDEO")

    weights = [clip, *out, "--weights", "weights"]
    yield "report is the weights", [*weights, "--report", "weights/front/model.safetensors"], ("--report", "--weights")
    yield "report is their configuration", [*weights, "--report", "weights//offline/config.json"], \
        ("--report", "--weights")
    yield "dump among the weights", [*weights, "--dump", "./weights/front"], ("--dump", "--weights")
    yield "dump is the folder of images", [*frames, "--dump", "frames/"], ("--dump", "VIDEO")
    yield "dump is the result", [clip, "-o", "new.npz", "--dump", "new.npz"], ("--dump", "-o")
    yield "dump writes the queries", [clip, *out, "--queries", "dump/order.txt", "--dump", "dump"], \
        ("--dump", "--queries")
    yield "dump writes the report", [clip, *out, "--report", "dump/order.txt", "--dump", "./dump/"], \
        ("--dump", "--report")
    yield "dump writes the geometry", [clip, *out, "--geometry", "dump/front/g.safetensors", "--dump", "dump"], \
        ("--dump", "--geometry")

    yield "one result of two videos", [clip, at("clip.mp4"), "-o", "./"], ("two videos",)
    yield "one result by two names", ["sub/../clip.mp4", clip, "-o", "./"], ("two videos",)
    yield "result is another video", [clip, "clip.npz"], ("clip.npz", "-o", "VIDEO")


def replacing_is_refused():
    before, wrong = files(), []
    for name, arguments, pieces in replacing_cases():
        with open(at("clip.mp4"), "rb") as video:
            done = run("-q", *arguments, cwd=at(), stdin=video)
        lines = complaints(done.stderr)
        if done.returncode != 2 or len(lines) != 1 or not all(p in lines[0] for p in pieces) or files() != before:
            wrong.append((name, done.returncode, lines, files().keys() ^ before.keys()))
    assert not wrong, "\n# ".join(map(str, wrong))


def what_only_looks_alike_is_written():
    """Beside the images, among files that are no images, and what was written before."""
    for _ in range(2):
        good("frames", "-q", *FAST, "-o", "frames/t.npz", "--report", "frames/r.json", "--overlay", "f001.png", cwd=at())
        good("numbered/f%03d.png", "-q", *FAST, "-o", "numbered/f001.npz", "--overlay", "numbered/g001.png", cwd=at())
        good("clip.mp4", "-q", *FAST, "-o", "weights/t.npz", "--weights", "weights", "--report", "q3.csv", cwd=at())
    assert "coords" in read_npz(at("frames/t.npz")) and report_of("names/frames/r.json")["program"] == "spatrack"


# The name that nobody chose ----------------------------------------------------------------------

def only_our_default_name_is_replaced():
    folder = place("default")
    shutil.copy(SMALL, path("default/clip.mp4"))
    result = path("default/clip.npz")
    good("clip.mp4", "-q", *FAST, cwd=folder)
    first = read(result)
    good("clip.mp4", "-q", *FAST, "--seed", 1, "--no-compress", cwd=folder)  # an old one of ours
    assert read(result) != first
    good("clip.mp4", "-q", *FAST, cwd=folder)  # stored, too
    assert read(result) == first
    truth = path("default/truth.npz")
    write_npz(truth, coords=((1, 1, 3), [1, 2, 3]))
    for foreign in (read(truth), b"", b"PK\x03\x04 text", first[:-100]):
        write("default/clip.npz", foreign)
        before = files()
        done = run("clip.mp4", "-q", *FAST, cwd=folder)
        assert done.returncode == 7 and len(complaints(done.stderr)) == 1, (done.returncode, done.stderr)
        assert "clip.npz" in done.stderr and " -o" in done.stderr and files() == before
    good("clip.mp4", "-q", *FAST, "-o", "clip.npz", cwd=folder)
    assert read(result) == first
    write("default/clip.npz", read(truth))
    assert run("clip.mp4", "--plan", cwd=folder).returncode == 0  # which writes nothing
    assert run("clip.mp4", "-n", cwd=folder).returncode == 7


def names_in_a_folder_are_no_choice_either():
    folder = place("into")
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(SMALL, path("into", name))
    os.makedirs(path("into/out"))
    for _ in range(2):
        good("a.mp4", "b.mp4", "-q", *FAST, "-o", "out/", "--report", "out/", cwd=folder)
    write("into/out/b.json", '{"program": "other"}')
    done = run("a.mp4", "b.mp4", "-q", *FAST, "-o", "out/", "--report", "out/", cwd=folder)
    assert done.returncode == 1 and "out/b.json" in done.stderr and "--report" in done.stderr, done.stderr
    assert read("into/out/b.json") == b'{"program": "other"}'
    assert sorted(os.listdir(path("into/out"))) == ["a.json", "a.npz", "b.json", "b.npz"]
    good("b.mp4", "-q", *FAST, "-o", "out/b.npz", "--report", "out/b.json", cwd=folder)
    assert report_of("into/out/b.json")["program"] == "spatrack"


# What is no regular file -------------------------------------------------------------------------

def through_pipe(name, *arguments, code=0, opened=True):
    """What a reader of a new FIFO gets from a run that names it; `opened`: and so ends it."""
    os.mkfifo(path(name))
    with open(path("got"), "wb") as got, subprocess.Popen(["cat", path(name)], stdout=got) as reader:
        done = run(SMALL, "-q", *FAST, *arguments)
        assert done.returncode == code, (done.returncode, done.stderr)
        if not opened:
            reader.kill()
        reader.wait(timeout=10)
    assert stat.S_ISFIFO(os.lstat(path(name)).st_mode)
    return read("got")


def in_a_file(name):
    """The bytes of that result of the clip in a usual file."""
    if not os.path.exists(path(name)):
        good(SMALL, "-q", *FAST, "-o", name)
    return read(name)


def text_and_arrays_stream_into_a_fifo():
    skip_when_sanitized(SPATRACK)
    assert through_pipe("p.csv", "-o", "p.csv") == in_a_file("plain.csv")
    assert through_pipe("p.npz", "-o", "p.npz") == in_a_file("plain.npz")
    assert b'"program"' in through_pipe("p.json", "-o", "t.npz", "--report", "p.json")
    assert through_pipe("p.png", "-o", "t.npz", "--overlay", "p.png").startswith(b"\x89PNG")
    assert through_pipe("n.csv", "-n", "-o", "n.csv") == in_a_file("plain.csv")


def a_failed_run_ends_the_pipe():
    assert through_pipe("f.csv", "-o", "f.csv", "--start", "99", code=3) == b""


def a_video_into_a_fifo_is_refused_at_once():
    began = time.monotonic()
    assert through_pipe("p.mp4", "-o", "t.npz", "--overlay", "p.mp4", code=7, opened=False) == b""
    assert time.monotonic() - began < 10
    done = run(SMALL, "-o", "t2.npz", "--overlay", "p.mp4")  # which nobody reads
    assert done.returncode == 7 and "--overlay" in done.stderr and not os.path.exists(path("t2.npz"))


def a_reader_may_come_later():
    os.mkfifo(path("late.csv"))
    with subprocess.Popen([SPATRACK, SMALL, "-q", *FAST, "-o", "late.csv"], cwd=TEMPORARY, env=ENVIRONMENT) as process:
        time.sleep(1.5)
        got = read("late.csv")
        assert process.wait(timeout=60) == 0
    assert got == in_a_file("plain.csv")


def a_reader_that_leaves_is_an_error():
    os.mkfifo(path("gone.csv"))
    with subprocess.Popen(["head", "-c", "10", path("gone.csv")], stdout=subprocess.DEVNULL):
        done = run(SMALL, "-q", "--max-frames", 4, "--grid", 25, "--iters", 1, "-o", "gone.csv")  # more than a pipe holds
    assert done.returncode == 7 and "gone.csv: Broken pipe" in done.stderr, done.stderr


def standard_output_is_written_where_it_is():
    done = good(SMALL, "-q", *FAST, "-o", "t.npz", "--report", "/dev/stdout")
    assert '"program"' in done.stdout
    os.symlink("/dev/stdout", path("out.csv"))
    assert good(SMALL, "-q", *FAST, "-o", "out.csv").stdout.encode() == in_a_file("plain.csv")
    script = 'echo one; "$0" "$1" -q -o t.npz --max-frames 3 --iters 1 --report /dev/stdout; echo two'
    with open(write("all.txt", "zero\n"), "a") as file:
        subprocess.run(["sh", "-c", script, SPATRACK, SMALL], cwd=TEMPORARY, env=ENVIRONMENT, stdout=file, check=True)
    text = read("all.txt").decode()
    assert text.startswith("zero\none\n{") and text.endswith("}\ntwo\n"), text
    ours, theirs = socket.socketpair()
    with ours, theirs:
        subprocess.run([SPATRACK, SMALL, "-q", *FAST, "-o", "t.npz", "--report", "/dev/fd/1"], cwd=TEMPORARY,
                       env=ENVIRONMENT, stdout=theirs, check=True)
        assert ours.recv(100).startswith(b"{")


def sockets_and_devices_are_answered():
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path("s.csv"))
        done = run(SMALL, "-q", "-o", "s.csv")
    assert done.returncode == 7 and "s.csv" in done.stderr, done.stderr
    os.symlink("/dev/null", path("null.csv"))
    good(SMALL, "-q", *FAST, "-o", "null.csv", "--report", "/dev/null")


# Traces ------------------------------------------------------------------------------------------

def mode_of(name):
    return stat.S_IMODE(os.stat(path(name)).st_mode)


def a_replaced_file_keeps_its_mode():
    skip_when_sanitized(SPATRACK)
    for mode in (0o600, 0o640, 0o444, 0o666):
        for name in ("k.npz", "k.json", "k.png", "k.mp4"):
            os.chmod(write(name, "old"), mode)
        good(SMALL, "-q", *FAST, "-o", "k.npz", "--report", "k.json", "--overlay", "k.mp4", preexec_fn=lambda: os.umask(0o22))
        good(SMALL, "-q", *FAST, "-o", "k2.csv", "--overlay", "k.png")
        assert [mode_of(name) for name in ("k.npz", "k.json", "k.png", "k.mp4")] == [mode] * 4
        assert "coords" in read_npz(path("k.npz"))
    good(SMALL, "-q", *FAST, "-o", "fresh.npz", preexec_fn=lambda: os.umask(0o27))
    assert mode_of("fresh.npz") == 0o640
    os.chmod(write("behind.npz", "old"), 0o600)
    os.symlink("behind.npz", path("before.npz"))
    good(SMALL, "-q", *FAST, "-o", "before.npz")
    assert os.path.islink(path("before.npz")) and mode_of("behind.npz") == 0o600


def a_replaced_file_keeps_its_owner():
    if os.geteuid() == 0:
        os.chown(write("theirs.npz", "old"), 1234, 2345)
        good(SMALL, "-q", *FAST, "-o", "theirs.npz")
        status = os.stat(path("theirs.npz"))
        assert (status.st_uid, status.st_gid) == (1234, 2345) and "coords" in read_npz(path("theirs.npz"))


def names_of(process):
    """What ps shows, once the run is under way."""
    for line in process.stderr:
        if b"front: " in line:
            break
    found = [read(f"/proc/{process.pid}/comm").strip()]
    if shutil.which("ps"):
        found.append(subprocess.run(["ps", "-o", "comm=", "-p", str(process.pid)], stdout=subprocess.PIPE,
                                    check=True).stdout.strip())
    process.kill()
    process.stderr.close()
    process.wait()
    return set(found)


def the_process_is_called_spatrack():
    os.symlink(SPATRACK, path("tool"))
    place("bin")
    os.symlink(SPATRACK, path("bin/spatrack"))
    for program in (SPATRACK, path("tool"), "bin/spatrack"):
        process = subprocess.Popen([program, BALL, "-v", "-o", "ps.npz", "--iters", "64", "--vo-points", "3000"],
                                   cwd=TEMPORARY, env=ENVIRONMENT, stderr=subprocess.PIPE)
        assert names_of(process) == {b"spatrack"}, program


make_inputs()
finish([replacing_is_refused, what_only_looks_alike_is_written, only_our_default_name_is_replaced,
        names_in_a_folder_are_no_choice_either, text_and_arrays_stream_into_a_fifo, a_failed_run_ends_the_pipe,
        a_video_into_a_fifo_is_refused_at_once, a_reader_may_come_later, a_reader_that_leaves_is_an_error,
        standard_output_is_written_where_it_is, sockets_and_devices_are_answered, a_replaced_file_keeps_its_mode,
        a_replaced_file_keeps_its_owner, the_process_is_called_spatrack])
