"""Segment Anything in PyTorch, and the training of its lite weights."""
