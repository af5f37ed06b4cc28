#!/usr/bin/env python3
"""What comments and Markdown pages cite is there: paths of the tree, headings of pages, links.

    test_citations.py SOURCE

A path begins with one of TOPS; in a comment of C it may also begin with a room ("output/npz.h") or be
a file's name alone ("former.c"), in one of Python likewise. A heading is cited behind its page: the
page's path, a comma, the heading in quotes, and more of them behind "and", "or", "to" or a comma. A
word in capitals (NAME.json) and * stand for anything. Prints TAP, and file:line of what is wrong.
"""
import glob
import io
import os
import re
import sys
import tempfile
import tokenize

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
from tap import run_cases  # noqa: E402

TOPS = "src", "kernels", "tests", "man"
C_ENDS, HASH_ENDS = (".c", ".h", ".cu", ".cuh", ".cpp"), (".mk", "meson.build", "meson_options.txt", ".sh")
FREE = r"(?<![\w./~$-])"  # not behind another part of a path: ../src/x and build/tests/x are not the tree's
PATH = re.compile(FREE + r"(?:%s)/(?:[\w.*/-]|\{[\w.,]+\})*" % "|".join(TOPS))
CITED_PAGE = re.compile(FREE + r"(?:\w[\w/-]*/)?\w+\.md\b")
PAGE = re.compile(r"([\w./-]*\w\.md)`?,\s+\"([^\"]+)\"")
MORE = re.compile(r"(?:,| and| or| to)\s+\"([^\"]+)\"")
LINK = re.compile(r"\[[^\]\n]*(?:\n[^\]\n]*)?\]\(([^)\s]+)\)")


class Text:
    """Pieces of a file that were neighbours, joined by spaces; knows the line of each place."""

    def __init__(self, lines):
        self.starts, text = [], ""
        for number, line in lines:
            self.starts.append((len(text), number))
            text += line + " "
        self.text = text

    def line(self, at):
        return max((start, number) for start, number in self.starts if start <= at)[1]


def bare(line):
    """A line of a comment without what marks it as one."""
    return re.sub(r"\s*\*/\s*$", "", re.sub(r"^\s*(?:/\*+|\*(?!/)|//+|#+!?)? ?", "", line)).strip()


def joined(rows):
    """Texts of (line, comment) rows: lines that follow one another are one text."""
    group = []
    for number, line in rows:
        if group and number != group[-1][0] + 1:
            yield Text(group)
            group = []
        group.append((number, bare(line)))
    if group:
        yield Text(group)


def c_comments(text):
    rows = []
    for found in re.finditer(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", text, re.DOTALL):
        if found[0].startswith("/"):
            first = text.count("\n", 0, found.start()) + 1
            rows += enumerate(found[0].split("\n"), first)
    return joined(rows)


def python_comments(text):
    """Comments, and docstrings: texts that are statements of their own."""
    rows, before = [], tokenize.NEWLINE
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        starts = before in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
        if token.type == tokenize.COMMENT:
            rows.append((token.start[0], token.string))
        elif token.type == tokenize.STRING and starts:
            rows += enumerate(token.string.split('"""')[1].split("\n") if '"""' in token.string else [token.string],
                              token.start[0])
        if token.type not in (tokenize.COMMENT, tokenize.NL):
            before = token.type
    return joined(rows)


def hash_comments(text):
    return joined((i, line[line.index("#"):]) for i, line in enumerate(text.split("\n"), 1)
                  if re.match(r"[^'\"]*(?:^|\s)#", line))


class Tree:
    def __init__(self, root):
        self.root, self.wrong, self.pages = root, [], {}
        self.files = sorted(self.walk())
        self.names = {os.path.basename(path) for path in self.files} | set(self.included())
        self.rooms = {path.split("/")[1] for path in self.files if path.count("/") > 1}
        rooms = FREE + "(?:%s)" % "|".join(map(re.escape, sorted(self.rooms))) + r"/[\w/-]+\.%s\b(?!/)"
        self.room_path = {"c": re.compile(rooms % "(?:c|h|cu|cuh)"), "py": re.compile(rooms % "py")}
        self.name = {"c": re.compile(FREE + r"\w+\.(?:c|h|cu|cuh)\b(?![/(])"),
                     "py": re.compile(FREE + r"\w+\.py\b(?![/(])")}

    def walk(self):
        yield from (name for name in os.listdir(self.root) if os.path.isfile(os.path.join(self.root, name)))
        for top in TOPS + (".ci",):
            for folder, folders, names in os.walk(os.path.join(self.root, top)):
                folders[:] = [name for name in folders if name != "__pycache__" and not name.startswith(".")]
                yield from (os.path.relpath(os.path.join(folder, name), self.root) for name in names)

    def included(self):
        """Names of headers that are not the tree's own: <setjmp.h>."""
        for path in self.files:
            if path.endswith(C_ENDS):
                yield from map(os.path.basename, re.findall(r"^# *include <(.*)>", self.read(path), re.MULTILINE))

    def read(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as file:
            return file.read()

    def kind(self, path):
        """How to find a file's comments: "c", "py", "hash", "md" or nothing."""
        if path.endswith(C_ENDS):
            return "c"
        if path.endswith((".py", ".md")):
            return path.rsplit(".", 1)[1]
        if path.endswith(HASH_ENDS) or path == ".ci/run":
            return "hash"
        if "." in os.path.basename(path) or os.path.basename(path).isupper():
            return None
        first = self.read(path).split("\n", 1)[0]
        return "py" if first.startswith("#!") and "python" in first else "hash" if first.startswith("#!") else None

    def texts(self, path, kind):
        text = self.read(path)
        if kind == "md":
            return [Text(enumerate((line.strip() for line in text.split("\n")), 1))]
        return {"c": c_comments, "py": python_comments, "hash": hash_comments}[kind](text)

    def exists(self, path):
        """Whether there is such a file or folder; {a,b} both, * and words in capitals any."""
        braces = re.search(r"\{([^}]*)\}", path)
        if braces:
            return all(self.exists(path[:braces.start()] + part + path[braces.end():]) for part in braces[1].split(","))
        full = os.path.join(self.root, path)
        return os.path.exists(full) or any(glob.iglob(re.sub(r"(?<![A-Za-z])[A-Z][A-Z_]+(?![A-Za-z])", "*", full)))

    def headings(self, page):
        if page not in self.pages:
            lines, fenced = [], False
            for line in self.read(page).split("\n"):
                fenced ^= line.startswith("```")
                if not fenced and re.match(r"#+ ", line):
                    lines.append(re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", line.lstrip("#")).replace("`", "").strip())
            self.pages[page] = lines
        return self.pages[page]

    def page_of(self, cited, path):
        """The page that a file cites: from the root of the tree, or from the file's folder."""
        for page in (cited, os.path.normpath(os.path.join(os.path.dirname(path), cited))):
            if page in self.files:
                return page
        return None

    def say(self, path, line, what):
        self.wrong.append(f"{path}:{line}: {what}")

    def check_paths(self, path, text):
        for found in PATH.finditer(text.text):
            cited = found[0].rstrip(".-")
            if not self.exists(cited):
                self.say(path, text.line(found.start()), f"there is no {cited}")

    def check_names(self, path, kind, text):
        for found in self.room_path[kind].finditer(text.text):
            if not any(self.exists(os.path.join(top, found[0])) for top in TOPS + ("src/lite",)):
                self.say(path, text.line(found.start()), f"there is no {found[0]}")
        for found in self.name[kind].finditer(text.text):
            if found[0] not in self.names:
                self.say(path, text.line(found.start()), f"there is no file {found[0]}")

    def check_pages(self, path, text):
        for found in CITED_PAGE.finditer(text.text):
            if not self.page_of(found[0], path) and not PATH.match(found[0]):
                self.say(path, text.line(found.start()), f"there is no page {found[0]}")

    def check_headings(self, path, text):
        for found in PAGE.finditer(text.text):
            page = self.page_of(found[1], path)
            while found:
                heading = re.sub(r"\s+", " ", found[found.lastindex]).replace("`", "")
                if page is None:
                    break
                if heading not in self.headings(page):
                    self.say(path, text.line(found.start()), f"{page} has no heading \"{heading}\"")
                found = MORE.match(text.text, found.end())

    def check_links(self, path):
        text = self.read(path)
        for found in LINK.finditer(text):
            target, _, anchor = found[1].partition("#")
            if re.match(r"\w+:", target):
                continue
            line = text.count("\n", 0, found.start()) + 1
            page = os.path.normpath(os.path.join(os.path.dirname(path), target)) if target else path
            if not os.path.exists(os.path.join(self.root, page)):
                self.say(path, line, f"there is no {page}")
            elif anchor and anchor not in [slug(heading) for heading in self.headings(page)]:
                self.say(path, line, f"{page} has no heading #{anchor}")

    def check(self, kinds):
        """Findings in all files of these kinds."""
        self.wrong = []
        for path in self.files:
            kind = self.kind(path)
            if kind not in kinds:
                continue
            for text in self.texts(path, kind):
                self.check_paths(path, text)
                self.check_headings(path, text)
                if kind != "md":
                    self.check_pages(path, text)
                if kind in self.name:
                    self.check_names(path, kind, text)
            if kind == "md":
                self.check_links(path)
        return self.wrong


def slug(heading):
    """The anchor that Markdown viewers make of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


MADE_UP = {
    "src/room/README.md": "# The room\n\n## A part: its name\nSee `src/room/part.c` and [it](#a-part-its-name).\n"
                          "```\n# no heading\n```\n`src/gone.c`\n\n[there](#no-part) [out](https://x.y/src/z.c)\n"
                          "`src/room/README.md`, \"No\nheading\".\n",
    "src/room/part.c": "/* room/part.h, part.h; src/room/README.md, \"A part:\n * its name\" and\n * \"no heading\". */\n"
                       "// room/gone.h\nconst char *text = \"src/never.c\"; /* src/{room,gone}/part.c */\n/* gone.h, other.md section 2 */\n",
    "src/room/part.h": "/* ../src/gone.c, ../shared/page.md, build/tests/gone, tracks/x.npz, /usr/src/x.h, a.cc, TrackRefiner.py; stays. */\n",
    "tests/run": "#!/usr/bin/env python3\n\"\"\"tests/gone.py, src/ROOM/part.c, src/*/part.h.\"\"\"\nx = \"src/never.c\"\n# gone.py\n",
    "tests/meson.build": "x = 'src/never.c'\n# src/room/gone.c\n",
}
EXPECTED = [
    "src/room/README.md:8: there is no src/gone.c",
    "src/room/README.md:11: src/room/README.md has no heading \"No heading\"",
    "src/room/README.md:10: src/room/README.md has no heading #no-part",
    "src/room/part.c:2: src/room/README.md has no heading \"no heading\"",
    "src/room/part.c:4: there is no room/gone.h",
    "src/room/part.c:5: there is no src/{room,gone}/part.c",
    "src/room/part.c:6: there is no file gone.h",
    "src/room/part.c:6: there is no page other.md",
    "tests/meson.build:2: there is no src/room/gone.c",
    "tests/run:2: there is no tests/gone.py",
    "tests/run:4: there is no file gone.py",
]


def made_up():
    with tempfile.TemporaryDirectory() as root:
        for path, text in MADE_UP.items():
            os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write(text)
        found = Tree(root).check(("c", "py", "hash", "md"))
    assert sorted(found) == sorted(EXPECTED), f"found {set(found) - set(EXPECTED)}, missed {set(EXPECTED) - set(found)}"


def main():
    tree = Tree(sys.argv[1])

    def of(*kinds):
        def case():
            wrong = tree.check(kinds)
            for line in wrong:
                print("#", line)
            assert not wrong, f"{len(wrong)} citations lead nowhere"
        return case
    sys.exit(run_cases([("mistakes in a made-up tree are found", made_up), ("C and CUDA", of("c")),
                        ("Python", of("py")), ("build files and scripts", of("hash")), ("pages", of("md"))]) > 0)


if __name__ == "__main__":
    main()
