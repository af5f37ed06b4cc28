"""The front, VGGT4Track, in PyTorch, and the training of its lite weights."""
