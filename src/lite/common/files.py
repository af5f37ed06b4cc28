"""Files that appear whole: written beside their place, then renamed."""
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The name to write under; what was written takes the place of `path` at the end."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    yield part
    os.replace(part, path)
