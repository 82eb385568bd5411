"""Cameras alone: many of them, spread over processes, with a control socket."""
