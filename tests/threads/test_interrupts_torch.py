"""PyTorch: Ctrl-C at any instant leaves nothing behind, neither on the model nor in the process."""

from __future__ import annotations

import importlib
import os
import random
import signal
import time
from contextlib import nullcontext
from typing import Any

import pytest
from sentinel import state

from camcore import Explainer
from camcore_torch import traits

torch = importlib.import_module("torch") if "CI" in os.environ else pytest.importorskip("torch")
nn = torch.nn
SIZE = (2, 3, 8, 8)
TIMES = 500


class Block(nn.Module):
    """A checkpointed convolution, which the usual way of checkpointing runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.steps: list[int] = []

    def forward(self, x: Any) -> Any:
        self.steps.append(1)
        checkpoint = importlib.import_module("torch.utils.checkpoint").checkpoint
        return torch.relu_(self.norm(checkpoint(self.conv, x, use_reentrant=True)))


class Convolutional(nn.Module):
    """Batch normalisation, dropout, a checkpoint, and a softmax at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.drop, self.fc = Block(), nn.Dropout(0.5), nn.Linear(4, 3)

    def forward(self, x: Any) -> Any:
        return self.fc(self.drop(self.block(x).mean((2, 3)))).softmax(1)


class Attending(nn.Module):
    """A block of attention over the pixels of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.fc = nn.Conv2d(3, 8, 2, 2), nn.Linear(8, 3)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.blocks = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, x: Any) -> Any:
        return self.fc(self.blocks(self.embed(x).flatten(2).transpose(1, 2)).mean(1))


def in_the_process():
    """Every switch of PyTorch that a pass may have to do with."""
    module = nn.modules.module
    return {
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "forward gradients": torch._C._is_fwd_grad_enabled(),
        "threads": torch._C._is_multithreading_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "autocast caches": torch.is_autocast_cache_enabled(),
        "function modes": torch._C._len_torch_function_stack(),
        "dispatch modes": torch._C._len_torch_dispatch_stack(),
        "hooks of every module": [
            len(hooks) for hooks in (module._global_forward_pre_hooks, module._global_forward_hooks)
        ],
        "checkpoints": torch.utils.checkpoint.CheckpointFunction,
        "attention": nn.functional.scaled_dot_product_attention,
        "fused attention": (
            torch.backends.mha.get_fastpath_enabled(),
            torch.backends.cuda.flash_sdp_enabled(),
            torch.backends.cuda.math_sdp_enabled(),
        ),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "random": torch.get_rng_state().sum().item(),
    }


def seconds(call):
    """How long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def interrupted(call, after):
    """Run a call that a timer interrupts; tell whether it did before the call was over."""
    try:
        signal.setitimer(signal.ITIMER_REAL, after)
        call()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        return True
    return False


@pytest.mark.usefixtures("alarm")
@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize(
    ("kind", "layer", "method"),
    [
        (Convolutional, "block", "gradcam"),
        (Convolutional, "block", "eigencam"),
        (Convolutional, "block", "ablationcam"),
        (Convolutional, "block", "scorecam"),
        (Convolutional, "block", "guidedgradcam"),
        (Convolutional, "block", "hirescam"),
        (Attending, None, "legrad"),
    ],
)
def test_an_interrupt_at_any_instant_leaves_nothing_behind(kind, layer, method, mode):
    torch.manual_seed(0)
    model = kind().train(mode == "train")
    images = torch.randn(SIZE, generator=torch.Generator().manual_seed(0))
    rng = random.Random(method + mode)
    modules = list(model.modules())
    model_before, process_before = state(modules), in_the_process()
    explainer, times = Explainer(model, layer=layer, method=method), 0
    first = seconds(lambda: explainer(images, 1))
    whole = min(seconds(lambda: explainer(images, 1)) for _ in range(3))
    while times < TIMES // 2:
        if times % 25 == 0:  # what only a model's first pass does is interrupted as well
            traits._traits.pop(model, None)
        after = rng.uniform(1e-6, first if times % 25 == 0 else whole)
        with rng.choice([nullcontext, torch.no_grad, torch.inference_mode])():
            around = in_the_process()
            times += interrupted(lambda: explainer(images, 1), after)
            assert in_the_process() == around
        assert state(modules) == model_before
        assert in_the_process() == process_before
