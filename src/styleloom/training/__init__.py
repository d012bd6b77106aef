"""Training: the algorithm in `trainer`, its parts beside it."""
