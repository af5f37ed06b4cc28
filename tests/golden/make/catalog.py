"""Which goldens and manifests there are."""
import dataclasses
import importlib
import sys
from typing import Callable

from make import files, synth

ENTRIES = {}
MODULES = {"front": ("front",), "tracker": ("tracker", "bundle", "runs"), "sam": ("sam",)}


@dataclasses.dataclass
class Golden:
    """make(reference, full) returns ({tensor: array}, {key: text})."""
    name: str
    function: Callable
    slow: bool
    noise: float
    cut: dict
    ending: str = ".safetensors"

    @property
    def summary(self):
        return self.function.__doc__.splitlines()[0]

    def make(self, reference, full):
        arrays, metadata = self.function(reference)
        arrays = {k: files.host(v, self.name.split("/")[0]) for k, v in arrays.items()}
        return (arrays, metadata) if full or not self.cut else files.cut(arrays, metadata, self.cut)

    def write(self, path, reference, full):
        files.write(path, *self.make(reference, full))


@dataclasses.dataclass
class Manifest:
    """function(reference) returns (config, {tensor: shape}, {tensor: (scale, offset)})."""
    name: str
    function: Callable
    summary: str
    slow: bool = True
    ending: str = ".json"

    def write(self, path, reference, _full):
        synth.write_manifest(path, self.name.split("/")[1], *self.function(reference))


def golden(name, slow=False, noise=2e-5, cut=None):
    """A function of the reference's folder that returns ({tensor: value}, {key: text}). `noise` is how far two
    machines may be apart; `cut` {tensor: stride}, what of it the tree keeps."""
    def enter(function):
        ENTRIES[name] = Golden(name, function, slow, noise, cut or {})
        return function
    return enter


def manifest(name, function, summary):
    ENTRIES["manifest/" + name] = Manifest("manifest/" + name, function, summary)


def load(names):
    """Fills the catalog with the models that the names speak of."""
    for model, modules in MODULES.items():
        if any(name.removeprefix("manifest/").startswith(model) or name == "manifest" for name in names):
            for module in modules:
                importlib.import_module("make." + module)
    return ENTRIES


def find(entries, name):
    """The entry of that name, or what is quick below that folder."""
    if name in entries:
        return [entries[name]]
    below = [entry for entry in entries.values() if entry.name.startswith(name + "/") and not entry.slow]
    if not below:
        sys.exit(f"golden: there is no {name}; --list names all")
    return below
