"""Makes the camera that is turned by hand importable: `from camera_by_hand import join, make`."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_spec = spec_from_file_location(
    "camera_by_hand", Path(__file__).parent / "hand" / "camera_by_hand.py"
)
assert _spec is not None
assert _spec.loader is not None
sys.modules[_spec.name] = module_from_spec(_spec)
_spec.loader.exec_module(sys.modules[_spec.name])
