"""The public implementation on a CPU: its classes, and changing them from outside.

`folder` is its folder app. Modules that it imports and that nothing here uses are left out.
"""
import contextlib
import functools
import importlib
import importlib.machinery
import logging
import pdb
import sys
import types


class Stub(types.ModuleType):
    """Stands for a module of which nothing is used: every name is an empty class."""
    __path__ = []

    def __init__(self, name):
        super().__init__(name)
        self.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


@contextlib.contextmanager
def patched(*changes):
    """Sets (object, name, value) for the duration of a block."""
    old = [(o, name, getattr(o, name)) for o, name, _ in changes]
    try:
        for o, name, value in changes:
            setattr(o, name, value)
        yield
    finally:
        for o, name, value in reversed(old):
            setattr(o, name, value)


@contextlib.contextmanager
def watching(modules):
    """Records what modules return: yields {key: [outputs of the calls]} of {key: module}."""
    seen = {key: [] for key in modules}

    def hook(key):
        def keep(_module, _arguments, output):
            seen[key].append(output.clone() if hasattr(output, "clone") else output)
        return keep

    hooks = [module.register_forward_hook(hook(key)) for key, module in modules.items()]
    try:
        yield seen
    finally:
        for handle in hooks:
            handle.remove()


@contextlib.contextmanager
def stubbed(names):
    """Stubs for modules, as long as the block imports others; those already imported stay."""
    new = [name for name in names if name not in sys.modules]
    sys.modules.update((name, Stub(name)) for name in new)
    try:
        yield
    finally:
        for name in new:
            del sys.modules[name]


def add_path(folder):
    if not folder:
        sys.exit("golden: --reference DIR is needed, the folder app of the public implementation")
    if folder not in sys.path:
        sys.path.insert(0, folder)


@functools.cache
def front(folder):
    """The front's modules; the training loss and the tracker are left out."""
    import torch
    add_path(folder)
    base = "models.SpaTrackV2.models."
    names = {"net": "models.vggt_moe", "agg": "models.aggregator", "dpt": "heads.dpt_head", "uv": "heads.utils",
             "cam": "heads.camera_head", "pose": "utils.pose_enc", "load": "utils.load_fn",
             "vit": "layers.vision_transformer"}
    # On a machine without CUDA the heads' "autocast off" must act on the CPU's autocast.
    torch.cuda.amp.autocast = lambda enabled=True, **_: torch.autocast("cpu", enabled=False)
    with stubbed([base + "vggt4track.utils.loss", base + "tracker3D.co_tracker.utils",
                  base + "tracker3D.spatrack_modules.simple_vit_1d"]):
        return types.SimpleNamespace(**{k: importlib.import_module(base + "vggt4track." + v) for k, v in names.items()})


UNUSED_BY_TRACKER = """decord moviepy moviepy.editor flow_vis sklearn sklearn.decomposition utils3d utils3d.torch
models.monoD.depth_anything_v2.dpt models.monoD.depth_anything.dpt models.moge.model.v1
models.SpaTrackV2.utils.visualizer""".split()


def depth_edge(depth, rtol, mask):
    """utils3d's: pixels whose 3x3 neighbourhood inside the mask spans more than rtol of their depth."""
    import torch
    d = depth.reshape(-1, 1, *depth.shape[-2:])
    low = torch.full_like(d, -torch.inf)
    span = sum(torch.nn.functional.max_pool2d(torch.where(mask.reshape(d.shape), s * d, low), 3, stride=1, padding=1)
               for s in (1, -1))
    return (torch.nan_to_num(span / d) > rtol).reshape(depth.shape)


def no_breakpoint(*_arguments, **_more):
    raise RuntimeError("the public implementation stopped at a breakpoint")


@functools.cache
def tracker(folder):
    """The tracker's modules, with CUDA calls that stay on the CPU."""
    import torch
    add_path(folder)
    torch.Tensor.cuda = lambda self, *_, **__: self
    torch.backends.cuda.sdp_kernel = lambda *_, **__: contextlib.nullcontext()
    torch.utils.checkpoint.checkpoint = lambda function, *arguments, **_: function(*arguments)
    pdb.set_trace = no_breakpoint
    import torchvision.io
    if not hasattr(torchvision.io, "write_video"):
        torchvision.io.write_video = None
    names = {"predictor": "predictor", "spatrack": "SpaTrack", "refiner": "tracker3D.TrackRefiner",
             "ba": "tracker3D.spatrack_modules.ba", "geometry": "tracker3D.spatrack_modules.utils"}
    with stubbed(UNUSED_BY_TRACKER):
        sys.modules["utils3d"].torch = sys.modules["utils3d.torch"]
        sys.modules["utils3d.torch"].depth_edge = depth_edge
        ref = types.SimpleNamespace(**{k: importlib.import_module("models.SpaTrackV2.models." + v)
                                       for k, v in names.items()})
    logging.disable(logging.WARNING)
    to_matrix = ref.ba.pycolmap_to_batch_matrix
    ref.ba.pycolmap_to_batch_matrix = lambda rec, device=None, **more: to_matrix(rec, device="cpu", **more)
    return ref
