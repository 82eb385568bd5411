"""The crash sweep: one appliance on a bench, and power cut at every moment."""
