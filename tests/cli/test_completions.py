#!/usr/bin/env python3
"""Completions for shells and --progress json: what other programs read. Prints TAP."""
import json
import os
import re
import shutil
import subprocess

from tap import Skip
from program import ENVIRONMENT, FAST, SMALL, SPATRACK, finish, good, path, place, run, write

SHELLS = ("bash", "zsh", "fish")


def flags():
    """{flag: what --help calls its value, or ""}."""
    found = re.findall(r"^  (?:-(\w), |    )--([a-z-]+)(?: (\S+))? ", good("--help").stdout, re.M)
    table = {"--" + name: value for _, name, value in found}
    assert len(table) > 40
    return {**table, **{"-" + letter: table["--" + name] for letter, name, _ in found if letter}}


def script(shell):
    done = good("--completions", shell)
    assert done.stderr == ""
    return done.stdout


def installed(shell):
    found = shutil.which(shell)
    if not found:
        raise Skip(f"there is no {shell}")
    return found


# Completions -------------------------------------------------------------------------------------

def complete(*words, folder=None):
    """What bash offers for the last of the words; readline splits at =, as here."""
    driver = write("driver.bash", script("bash") + r"""
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        _spatrack spatrack "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}" """)
    done = subprocess.run([installed("bash"), driver, "spatrack", *words], capture_output=True, encoding="utf-8",
                          check=True, cwd=folder or path(), env=ENVIRONMENT)
    assert done.stderr == "", done.stderr
    return sorted(set(done.stdout.split("\n")) - {""})


def every_flag_is_in_each_script():
    for shell in SHELLS:
        text = script(shell)
        for flag in flags():
            if shell != "fish":
                pattern = rf"(?<![\w-]){flag}(?![\w-])"
            else:
                pattern = rf" -l {flag[2:]} " if flag.startswith("--") else rf" -s {flag[1:]} "
            assert re.search(pattern, text), (shell, flag)


def scripts_are_no_errors_to_their_shells():
    missing = [shell for shell in SHELLS if not shutil.which(shell)]
    for shell in SHELLS:
        if shell not in missing:
            done = subprocess.run([shell, "-n", write("script." + shell, script(shell))], capture_output=True)
            assert done.returncode == 0 and done.stderr == b"", (shell, done.stderr)
    assert "bash" in missing or complete("--sa") == ["--sam"]
    if missing:
        print(f"# not checked, not installed: {', '.join(missing)}")


def bash_completes_flags():
    assert complete("-") == sorted(flags())
    assert complete("clip.mp4", "--max") == ["--max-frames", "--max-input-side", "--max-side"]
    assert complete("--quiet", "--verb") == ["--verbose"]
    assert complete("--frob") == []


def bash_completes_choices_with_their_words():
    choices = {flag: value.split("|") for flag, value in flags().items() if "|" in value}
    assert len(choices) > 10 and choices["--portrait"] == ["crop", "fit"]
    for flag, words in choices.items():
        assert complete(flag, "") == complete(flag, "=") == complete("x.mp4", flag, "=", "") == sorted(words), flag
        assert words[0] in complete(flag, words[0][:2]) and words[0] in complete(flag, "=", words[0][:2])
        assert complete(flag, "zz") == []


def bash_completes_files():
    folder = place("some files")
    os.makedirs(os.path.join(folder, "deep folder"))
    names = ["a b.npz", "a.csv", "a.json", "a.mp4", "a.png", "tracks.npz"]
    for name in names + ["deep folder/in.npz"]:
        write(os.path.join(folder, name), "")
    everything = sorted([*names, "deep folder"])

    def found(*words):
        return complete(*words, folder=folder)
    for flag, value in flags().items():
        if re.match(r"FILE\.\w+$", value):
            ending = value[4:]
            expected = sorted([name for name in names if name.endswith(ending)] + ["deep folder"])
            assert found(flag, "") == found(flag, "=", "") == expected, flag
        elif value == "FILE":
            assert found(flag, "") == everything
        elif value == "DIR":
            assert found(flag, "") == ["deep folder"]
        elif value and "|" not in value:
            assert found(flag, "") == [], flag
    assert found("") == found("--quiet", "") == found("--json", "a.mp4", "") == found("--", "-", "") == everything
    assert found("--compare", "tracks.npz", "a") == sorted(name for name in names if name.startswith("a"))
    assert found("--geometry", "deep folder/") == ["deep folder/in.npz"]


def fish_completes_flags_choices_and_files():
    folder, name = place("fish"), write("spatrack.fish", script("fish"))
    for file in ("a.npz", "a.mp4"):
        write(os.path.join(folder, file), "")

    def found(line):
        done = subprocess.run([installed("fish"), "-N", "-c", f"source {name}; complete -C '{line}'"], cwd=folder,
                              capture_output=True, encoding="utf-8", check=True, env=ENVIRONMENT)
        return sorted(line.split("\t")[0] for line in done.stdout.splitlines())
    assert found("spatrack --max-") == ["--max-frames", "--max-input-side", "--max-side"]
    assert found("spatrack --portrait ") == ["crop", "fit"]
    assert "a.npz" in found("spatrack --compare ") and found("spatrack ") == found("spatrack -o ") == ["a.mp4", "a.npz"]


def other_words_are_refused():
    for word in ("", "csh", "none"):
        done = run("--completions", word)
        assert done.returncode == 2 and "--completions takes bash|zsh|fish" in done.stderr


# Progress ----------------------------------------------------------------------------------------

def events(*arguments, status=0):
    done = run(*arguments)
    assert done.returncode == status, done
    return [json.loads(line) for line in done.stderr.splitlines()]


def stages_begin_and_end_in_json():
    found = events(SMALL, "-o", path("p.npz"), "--progress", "json", "--overlay", path("p.png"))
    begun = [event["stage"] for event in found if event["event"] == "begin"]
    assert begun == ["frames", "front", "tracker", "refine", "result", "overlay"]
    stage, count = None, 0
    for event in found:
        if event["event"] == "begin":
            assert stage is None and event.get("frames", 24) == 24
            stage = event["stage"]
        elif event["event"] == "progress":
            assert event["stage"] == stage and 0 <= event["done"] <= 1
            assert event["seconds"] > 0 and event["seconds_left"] >= 0
            count += 1
        elif event["event"] == "end":
            assert event["stage"] == stage and event["seconds"] >= 0
            stage = None
    assert stage is None and count > 0
    notes = [event["text"] for event in found if event["event"] == "note"]
    assert any("built-in lite weights" in note for note in notes) and f"{path('p.npz')}: 24 frames" in notes[-1]
    assert {event["event"] for event in found} == {"begin", "progress", "end", "note"}


def quiet_and_verbose_hold_for_json():
    (only,) = events(SMALL, *FAST, "-o", path("q.npz"), "--progress=json", "-q")
    assert only["event"] == "warning" and "left out" in only["text"]
    found = events(SMALL, *FAST, "-o", path("q.npz"), "--progress=json", "-v")
    assert any(event["event"] == "detail" and event["text"].startswith("tracker: ") for event in found)
    plain = good(SMALL, *FAST, "-o", path("q.npz"), "--progress", "bar")
    assert all(line.startswith("spatrack: ") for line in plain.stderr.splitlines() if "left" not in line)


def warnings_and_errors_are_json():
    missing = path('no "quoted\\name\n\t.mp4')
    for more in ([], ["-q"]):
        assert events("--progress", "json", missing, *more, status=3) == [
            {"event": "error", "text": f"cannot open {missing}: No such file or directory", "status": 3}]
        assert events("--progress", "json", "--grid", "x", *more, status=2)[0]["status"] == 2
    video = shutil.copy(SMALL, path("good.mp4"))
    found = events("--progress", "json", "-q", path("none.mp4"), video, *FAST, status=1)
    assert [each["event"] for each in found].count("warning") == len(found) - 1 and found[-1]["status"] == 1
    assert [each["video"] for each in found if "cannot open" in each["text"]] == [path("none.mp4")], found
    # File names are bytes.
    done = subprocess.run([os.fsencode(SPATRACK), b"--progress", b"json", b"\xff\xc3\xa9.mp4"],
                          capture_output=True, env=ENVIRONMENT)
    assert json.loads(done.stderr.decode())["text"].startswith("cannot open \ufffd\u00e9.mp4: ")


finish([every_flag_is_in_each_script, scripts_are_no_errors_to_their_shells, bash_completes_flags,
        bash_completes_choices_with_their_words, bash_completes_files, fish_completes_flags_choices_and_files,
        other_words_are_refused, stages_begin_and_end_in_json, quiet_and_verbose_hold_for_json,
        warnings_and_errors_are_json])
