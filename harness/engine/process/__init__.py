"""The process rung: the same appliance programs on real sockets, files, video and inference."""

from harness.engine.process.engine import ProcessEngine

__all__ = ["ProcessEngine"]
