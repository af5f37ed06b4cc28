"""The lite tracker's configuration."""
from tracker import LEVELS, Tracker

STRIDE = 4
FRONT_WIDTH, FRONT_PATCH = 256, 16  # the frames that both networks see are as wide as the front's
CONFIG = {
    "model": {"resolution": 196, "track_num": 256, "Track_cfg": {"s_wind": 500, "overlap": 4, "base": {
        "window_len": 60, "stride": STRIDE, "corr_radius": 2, "neighbours": 2,
        "model_resolution": [192, 256]}}},
    "sizes": {"stages": [16, 32, 48, 64], "mixed": 64, "channels": 32, "corr_hidden": 96, "corr": 32,
              "xyz_hidden": 24, "width": 96, "depth": 1, "virtual": 16, "ratio": 2, "embed_hidden": 64}}


def new_tracker() -> Tracker:
    return Tracker(CONFIG)
VISIBLE_LOGIT = -0.8473  # of 0.3: the program says visible where sigmoid + 0.2 > 0.5
