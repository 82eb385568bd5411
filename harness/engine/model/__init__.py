"""The model rung: the same appliance programs in virtual time, interpreted in simpy."""

from harness.engine.model.engine import ModelEngine

__all__ = ["ModelEngine"]
