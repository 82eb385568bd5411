"""Hardware-in-the-loop tests and fleet simulation for edge computer-vision appliances."""

__version__ = "0.1.0"
