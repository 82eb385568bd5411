"""Makes the test engine importable: `from appliance_box import Box` in every test beside this."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path


def _provide(name: str) -> None:
    spec = spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


_provide("appliance_cloud")
_provide("appliance_box")
_provide("appliance_truth")
