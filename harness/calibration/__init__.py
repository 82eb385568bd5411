"""The performance model: published measurements, a roofline, and what is learned beyond it."""
