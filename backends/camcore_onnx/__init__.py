"""camcore's adapter for ONNX files, run and differentiated by ONNX Runtime."""

from .backend import OnnxBackend

__all__ = ["backend"]

backend = OnnxBackend()
"""What the entry point hands to camcore; see `camcore.registry.Backend`."""
