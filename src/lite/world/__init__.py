"""The procedural world that the lite models are trained on."""
