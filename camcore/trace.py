"""The former place of `camcore.adapter`."""

from camcore.adapter import *  # noqa: F403
from camcore.registry import Backend, FastBackend  # noqa: F401
from camcore.zoo import LoadedModel  # noqa: F401
