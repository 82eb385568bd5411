"""Measurements of the camera: sessions a core, peers, what idle cameras cost, endurance."""
