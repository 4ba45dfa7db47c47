"""What the ONNX tests need: skipped on a laptop where it is missing, in CI they fail."""

from __future__ import annotations

import os
from importlib.util import find_spec

if not os.environ.get("CI") and not all(map(find_spec, ("onnx", "onnxruntime"))):
    collect_ignore_glob = ["test_*.py"]
