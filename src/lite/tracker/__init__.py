"""The tracker, SpatialTrackerV2, in PyTorch, and the training of its lite weights."""
