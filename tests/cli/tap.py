"""What the command-line tests share: cases printed as TAP, and which of the program's lines complain."""
import time

LONG = 5  # seconds of a case that are worth a line
NOTES = ("using the built-in", "left out", "using the CPU")


class Skip(Exception):
    """Why a case cannot run here."""


def complaints(stderr):
    """The lines of stderr without notes about a run that goes on."""
    text = stderr if isinstance(stderr, str) else stderr.decode(errors="replace")
    return [line for line in text.splitlines() if not any(note in line for note in NOTES)]


def is_sanitized(program):
    with open(program, "rb") as file:
        return b"__asan_init" in file.read()


def skip_when_sanitized(program):
    """Of cases that take minutes there and add nothing for the sanitizers to see."""
    if is_sanitized(program):
        raise Skip("sanitized")


def run_cases(cases, only=""):
    """Runs those (name, function) whose name holds `only`; returns how many failed."""
    count = failures = 0
    for name, case in cases:
        if only not in name:
            continue
        count += 1
        begun = time.monotonic()
        try:
            case()
            print(f"ok {count} - {name}", flush=True)
            if time.monotonic() - begun > LONG:
                print(f"# {time.monotonic() - begun:.0f} s", flush=True)
        except Skip as reason:
            print(f"ok {count} - {name} # SKIP {reason}", flush=True)
        except Exception as error:  # a failed case is reported and the others go on
            failures += 1
            print(f"not ok {count} - {name}\n# {type(error).__name__}: {error!s:.1500}", flush=True)
    print(f"1..{count}")
    return failures
