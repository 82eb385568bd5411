"""Detections against the truth, as windows of a history hold them (`frames.window`, `sight`)."""

BINS = 20  # of confidence, 0 to 1
