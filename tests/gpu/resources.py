#!/usr/bin/env python3
"""Registers spilled and static shared memory of each CUDA kernel on each architecture, within bounds.

    resources.py FILE...

A file holds what ptxas -v said when a kernel's file was compiled (kernels/cuda/meson.build). Prints TAP.
"""
import re
import sys

SPILLS = 128  # bytes stored and loaded again by a thread: a few registers outside of the inner loops
# Where more is known and taken: heads of 128 on Turing, which no published model has.
MORE_SPILLS = {("mma_kernel", "sm_75"): 256}
SHARED = 48 << 10  # bytes that every card gives a block without being asked


def kernels(path):
    """(name, architecture, bytes spilled, bytes of shared memory, registers) of each kernel."""
    text = open(path).read()
    for part in re.split(r"ptxas info *: Compiling entry function ", text)[1:]:
        name, architecture = re.match(r"'([^']*)' for '([^']*)'", part).groups()
        spilled = sum(int(n) for n in re.findall(r"(\d+) bytes spill", part))
        shared = sum(int(n) for n in re.findall(r"(\d+) bytes smem", part))
        registers = re.search(r"Used (\d+) registers", part)
        yield name, architecture, spilled, shared, int(registers.group(1)) if registers else 0


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    found = [(path, kernel) for path in sys.argv[1:] for kernel in kernels(path)]
    failed = 0
    for i, (_, (name, architecture, spilled, shared, registers)) in enumerate(found):
        most = max([SPILLS] + [more for (part, where), more in MORE_SPILLS.items()
                               if part in name and where == architecture])
        good = spilled <= most and shared <= SHARED
        failed += not good
        print("%s %d - %s on %s: %d registers, %d bytes spilled, %d shared" % (
            "ok" if good else "not ok", i + 1, name, architecture, registers, spilled, shared))
    print("1..%d" % len(found))
    return failed > 0 or not found


if __name__ == "__main__":
    sys.exit(main())
