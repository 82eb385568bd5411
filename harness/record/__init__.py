"""The record of a run: events, the append-only history, histograms, run directories."""
