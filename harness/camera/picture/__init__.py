"""What a camera shows: scenes with ground truth, their codings, clips encoded once and cached."""
