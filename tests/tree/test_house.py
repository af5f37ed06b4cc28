#!/usr/bin/env python3
"""What src/README.md promises of the sources, read as text: test_house.py SOURCE_ROOT. Prints TAP.

A room is a folder of src, or kernels. A file has an arrow to another of its room when it includes it, or
when its code names a function that the other defines and does not keep to itself; that a header declares
a function is no arrow.
"""
import os
import re
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../cli"))
from tap import run_cases  # noqa: E402

ROOT = sys.argv[1]
MOST_PARAMETERS, MOST_LINES = 7, 60
NUMBERS = {8: "Eight", 9: "Nine", 10: "Ten", 11: "Eleven", 12: "Twelve"}
# Words that the field's have replaced; what a person reads stays one vocabulary.
RETIRED = r"""sp_weights_segments SpNeed SpRoom SpWish SpGiven SpLook SpTold take_memory give_memory soften
    unit_rows halve pick_rows bind_side docs/model shared/docs given\.h""".split()


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def files(folders, endings):
    """Paths from the root, sorted; no hidden folders."""
    found = []
    for top in folders:
        for folder, below, names in os.walk(os.path.join(ROOT, top)):
            below[:] = [name for name in below if not name.startswith(".")]
            found += [os.path.relpath(os.path.join(folder, name), ROOT) for name in names
                      if name.endswith(endings)]
    return sorted(found)


def expect_none(found):
    print("".join(f"# {line}\n" for line in found), end="")
    assert not found, f"{len(found)} of them"


def blank(match):
    return re.sub(r"[^\n]", " ", match.group())


def code_of(text):
    """The text with comments, strings, characters and preprocessor lines blank, each line and column kept."""
    text = re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", blank, text, flags=re.M)


def closing(code, at):
    """Where the bracket that opens at `at` closes."""
    depth = 0
    for match in re.compile(r"[(){}\[\]]").finditer(code, at):
        depth += 1 if match.group() in "({[" else -1
        if depth == 0:
            return match.start()
    raise ValueError(f"a bracket stays open: {code[at:at + 80]!r}")


class Function:
    """A definition or a prototype at the top level of a file."""

    def __init__(self, path, text, head, name, parameters, begin, end):
        self.path, self.name = path, name
        self.line = text.count("\n", 0, begin) + 1
        self.lines = text.count("\n", begin, end) + 1
        self.is_static = re.search(r"\bstatic\b", head) is not None
        self.parameters = count_parameters(parameters)
        above = text[:begin].rstrip()
        self.comment = above[above.rindex("/*"):] if above.endswith("*/") else ""


def count_parameters(text):
    text = text.strip()
    depth, count = 0, 1
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        count += character == "," and depth == 0
    return 0 if text in ("", "void") else count


def functions_of(path):
    """(definitions, prototypes) of a file."""
    text = read(path)
    code = code_of(text)
    definitions, prototypes = [], []
    begin, at, name, parameters = 0, 0, None, None
    while (match := re.compile(r"[;{}(]").search(code, at)) is not None:
        place, what = match.start(), match.group()
        at = place + 1
        if what == "(":
            close = closing(code, place)
            before = re.search(r"(\w+)\s*$", code[begin:place])
            if code[begin:place].endswith(")") and name and name.isupper():
                name, parameters = parameters.strip(), code[place + 1:close]  # MACRO(name)(parameters)
            elif before and before.group(1) not in ("__attribute__", "__launch_bounds__", "defined", "sizeof"):
                name, parameters = before.group(1), code[place + 1:close]
            at = close + 1
        elif what == "{":
            head = code[begin:place]
            if re.match(r"\s*(extern|namespace\b[^(]*)\s*$", head):
                begin = at  # what stands in this block is at the top level too
            else:
                end = closing(code, place)
                start = begin + len(head) - len(head.lstrip())
                if name and "=" not in head and head.rstrip().endswith(")"):
                    definitions.append(Function(path, text, head, name, parameters, start, end))
                    begin = end + 1
                at = end + 1
            name = None
        else:
            head = code[begin:place]
            start = begin + len(head) - len(head.lstrip())
            if what == ";" and name and "=" not in head and not (
                    "typedef" in head or parameters.startswith("*")):
                prototypes.append(Function(path, text, head, name, parameters, start, place))
            begin, name = at, None
    return definitions, prototypes


SOURCES = files(["src", "kernels"], (".c", ".h", ".cu", ".cuh"))
FUNCTIONS = {path: functions_of(path) for path in SOURCES}


def no_retired_word_comes_back():
    word = re.compile(r"(?<!\w)(?:" + "|".join(RETIRED) + r")(?!\w)")
    found = [f"{path}:{number}: {match.group()}"
             for path in files(["src", "kernels", "tests"], (".c", ".h", ".cu", ".cuh", ".cpp"))
             for number, line in enumerate(read(path).split("\n"), 1) for match in word.finditer(line)]
    expect_none(found)


def functions_are_short():
    definitions = [f for path in SOURCES if path.endswith((".c", ".h")) for f in FUNCTIONS[path][0]]
    longest = max(definitions, key=lambda f: f.lines)
    print(f"# {len(definitions)} functions of C, median {statistics.median(f.lines for f in definitions):.0f} "
          f"lines, longest {longest.lines} ({longest.name} in {longest.path})")
    long = [f"{f.path}:{f.line}: {f.name} has {f.lines} lines" for f in definitions if f.lines > MOST_LINES]
    assert len(definitions) > 300
    expect_none(long)


def more_than_seven_parameters_have_a_reason():
    """`Eight parameters: why` in the comment above the definition or the declaration."""
    declared = {}
    for _, prototypes in FUNCTIONS.values():
        for f in prototypes:
            declared.setdefault(f.name, []).append(f.comment)
    many, bare = 0, []
    for path in SOURCES:
        for f in FUNCTIONS[path][0]:
            if path.endswith((".c", ".h")) and f.parameters > MOST_PARAMETERS:
                many += 1
                marker = f"{NUMBERS.get(f.parameters, f.parameters)} parameters: "
                if not any(marker in re.sub(r"\s+\*?\s*", " ", comment)
                           for comment in [f.comment, *declared.get(f.name, [])]):
                    bare.append(f"{path}:{f.line}: {f.name} has {f.parameters} and no \"{marker}...\" above it")
    print(f"# {many} functions have more than {MOST_PARAMETERS} parameters")
    expect_none(bare)


def rooms():
    """The keys of `may_use` in meson.build, where the arrows between rooms stand."""
    table = re.search(r"^may_use = \{(.*?)^\}", read("meson.build"), re.S | re.M).group(1)
    return set(re.findall(r"^  '(\w+)':", table, re.M))


def room_of(path):
    parts = path.split(os.sep)
    return "kernels" if parts[0] == "kernels" else parts[1] if len(parts) > 2 else None


def every_file_has_a_room():
    loose = [path for path in files(["src"], "") if room_of(path) is None and
             path not in (os.path.join("src", "main.c"), os.path.join("src", "README.md"))]
    folders = {name for name in os.listdir(os.path.join(ROOT, "src"))
               if os.path.isdir(os.path.join(ROOT, "src", name))} | {"kernels"}
    print(f"# {len(SOURCES)} files in {len(rooms())} rooms")
    expect_none(loose + sorted(folders ^ rooms()))


def included(path, name):
    """The file of the tree that `#include "name"` means in `path`, or None."""
    for folder in ("src", "", os.path.dirname(path)):
        target = os.path.normpath(os.path.join(folder, name))
        if target in FUNCTIONS:
            return target
    return None


def arrows():
    """{file: {file}} within rooms."""
    defined = {}  # {(room, function): {file}}
    for path, (definitions, _) in FUNCTIONS.items():
        for f in definitions:
            if not f.is_static:
                defined.setdefault((room_of(path), f.name), set()).add(path)
    found = {}
    for path in SOURCES:
        text, room = read(path), room_of(path)
        includes = {included(path, name) for name in re.findall(r'^#\s*include "([^"]+)"', text, re.M)}
        names = set(re.findall(r"\b\w+\b", code_of(text))) - {f.name for f in FUNCTIONS[path][1]}
        named = set().union(*(defined.get((room, name), set()) for name in names))
        found[path] = {other for other in includes | named if other and room_of(other) == room} - {path}
    return found


def circles(graph):
    """Strongly connected components of more than one file (Tarjan)."""
    index, low, stack, result = {}, {}, [], []

    def visit(file):
        index[file] = low[file] = len(index)
        stack.append(file)
        for other in sorted(graph[file]):
            if other not in index:
                visit(other)
            if other in stack:
                low[file] = min(low[file], low[other])
        if low[file] == index[file]:
            at = stack.index(file)
            if len(stack) - at > 1:
                result.append(stack[at:])
            del stack[at:]
    for file in sorted(graph):
        if file not in index:
            visit(file)
    return result


def no_room_has_a_circle():
    graph = arrows()
    print(f"# {len(graph)} files, {sum(map(len, graph.values()))} arrows within rooms")
    found = [", ".join(f"{file} -> {' '.join(sorted(graph[file] & set(circle)))}" for file in sorted(circle))
             for circle in circles(graph)]
    expect_none(found)


sys.exit(run_cases([(case.__name__, case) for case in (
    no_retired_word_comes_back, functions_are_short, more_than_seven_parameters_have_a_reason,
    every_file_has_a_room, no_room_has_a_circle)]) > 0)
