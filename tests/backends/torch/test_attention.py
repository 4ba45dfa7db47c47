"""PyTorch: attention is seen however it is spelled, and the model is left as it was."""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np
import pytest

import camcore
from camcore.errors import LayerError, MethodError
from camcore.registry import adapter as adapt
from camcore.targets import Class

torch = importlib.import_module("torch") if "CI" in os.environ else pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

BATCH, TOKENS, WIDTH, HEADS = 2, 7, 8, 2


def split(x: Any, heads: int = HEADS) -> Any:
    return x.unflatten(-1, (heads, -1)).transpose(-3, -2)


class Attention(nn.Module):
    """Queries, keys and values of the tokens; `attend` is what is tried."""

    def __init__(self, attend: Any) -> None:
        super().__init__()
        self.qkv, self.attend = nn.Linear(WIDTH, 3 * WIDTH), attend
        self.softmax = nn.Softmax(-1)

    def forward(self, x: Any) -> Any:
        y = self.attend(self, *self.qkv(x).chunk(3, -1))
        return y.transpose(-3, -2).flatten(-2) if y.ndim == 4 else y


class Net(nn.Module):
    def __init__(self, attention: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Linear(4, WIDTH)
        self.attn = attention() if isinstance(attention, type) else Attention(attention)
        self.head = nn.Linear(WIDTH, 3)
        self.double()

    def forward(self, x: Any) -> Any:
        return self.head(torch.tanh(self.attn(self.embed(x))).flatten(1, -2).mean(1))


def fused(**options: Any) -> Any:
    return lambda own, q, k, v: F.scaled_dot_product_attention(*map(split, (q, k, v)), **options)


def explicit(softmax: Any) -> Any:
    def attend(own: Any, q: Any, k: Any, v: Any) -> Any:
        q, k, v = map(split, (q, k, v))
        return softmax(own, q @ k.mT / (WIDTH / HEADS) ** 0.5) @ v

    return attend


def folded(own: Any, q: Any, k: Any, v: Any) -> Any:
    q, k, v = (split(x).flatten(0, 1) for x in (q, k, v))
    y = torch.bmm(F.softmax(torch.bmm(q, k.mT) / (WIDTH / HEADS) ** 0.5, 2), v)
    return y.unflatten(0, (-1, HEADS))


def grouped(own: Any, q: Any, k: Any, v: Any) -> Any:
    k, v = k[..., : WIDTH // HEADS], v[..., : WIDTH // HEADS]
    return F.scaled_dot_product_attention(split(q), split(k, 1), split(v, 1), enable_gqa=True)


class Packed(nn.MultiheadAttention):
    weights = False

    def __init__(self) -> None:
        super().__init__(WIDTH, HEADS, dropout=0.5, batch_first=True)

    def forward(self, x: Any) -> Any:  # type: ignore[override]
        return super().forward(x, x, x, need_weights=self.weights)[0]


class PackedWithWeights(Packed):
    weights = True


class PackedByHand(Packed):
    """Calls the function with what it has no defaults for alone."""

    def forward(self, x: Any) -> Any:  # type: ignore[override]
        x = x.transpose(0, 1)
        options = (WIDTH, HEADS, self.in_proj_weight, self.in_proj_bias, None, None, False, 0.5)
        out = self.out_proj
        y, _ = F.multi_head_attention_forward(x, x, x, *options, out.weight, out.bias, False)
        return y.transpose(0, 1)


class Encoder(nn.TransformerEncoderLayer):
    def __init__(self) -> None:
        super().__init__(WIDTH, HEADS, 8, batch_first=True)


torch.manual_seed(1)
ALLOWED = torch.rand(TOKENS, TOKENS) > 0.4
ALLOWED.fill_diagonal_(True)
BIAS = torch.randn(HEADS, TOKENS, TOKENS, dtype=torch.float64)

SPELLINGS = {
    "fused": fused(),
    "fused, scaled": fused(scale=0.3),
    "fused, causal": fused(is_causal=True),
    "fused, masked": fused(attn_mask=ALLOWED),
    "fused, biased": fused(attn_mask=BIAS),
    "fused, grouped": grouped,
    "function": explicit(lambda own, x: F.softmax(x, dim=-1)),
    "method": explicit(lambda own, x: x.softmax(3)),
    "torch": explicit(lambda own, x: torch.softmax(x, dim=-1)),
    "module": explicit(lambda own, x: own.softmax(x)),
    "in place after": explicit(lambda own, x: F.softmax(x, dim=-1).mul_(1)),
    "heads in the batch": folded,
    "packed": Packed,
    "packed, with weights": PackedWithWeights,
    "packed, by hand": PackedByHand,
    "encoder": Encoder,
}


@pytest.fixture
def tokens() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(BATCH, TOKENS, 4))


def one_class(leaves: Any) -> Any:
    return {"": np.eye(3)[[1] * BATCH]}


def finite_differences(net: Any, x: np.ndarray, name: str, change: np.ndarray) -> float:
    """How the score moves as the attention does, by a hand on the very same computation."""
    attention = importlib.import_module("camcore_torch.attention")
    module = net.get_submodule(name)
    scores = []
    for step in (1e-5, -1e-5):
        moved = torch.tensor(step * change)
        add = lambda _, a, by=moved: a + by.reshape(a.shape)  # noqa: E731
        with torch.no_grad(), attention.watched([module], add):
            scores.append(net(torch.tensor(x))[:, 1].sum().item())
    return (scores[0] - scores[1]) / 2e-5


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_attention_is_seen(spelling, tokens):
    net = Net(SPELLINGS[spelling]).eval()
    adapter = adapt(net)
    with torch.no_grad():
        plain = net(torch.tensor(tokens)).numpy()
    (attending,) = [r.layer.name for r in adapter.survey(tokens) if r.attends]
    assert attending == ("attn.self_attn" if spelling == "encoder" else "attn")
    trace = adapter.run(tokens, [attending + "@attention"], [one_class])
    np.testing.assert_allclose(trace.outputs[""], plain, rtol=0, atol=1e-12)
    (traced,) = trace.layers.values()
    attention = traced.activations.reshape(BATCH, HEADS, TOKENS, TOKENS)
    np.testing.assert_allclose(attention.sum(-1), 1, rtol=0, atol=1e-12)
    if spelling == "fused, causal":
        assert np.all(attention[..., ~np.tri(TOKENS, dtype=bool)] == 0)
    if spelling == "fused, masked":
        assert np.all(attention[..., ~ALLOWED.numpy()] == 0)
    change = np.random.default_rng(2).normal(size=attention.shape)
    slope = finite_differences(net, tokens, attending, change)
    predicted = (traced.gradients[0].reshape(attention.shape) * change).sum()
    assert abs(slope - predicted) <= 1e-8 * abs(slope)
    with torch.no_grad():
        np.testing.assert_array_equal(net(torch.tensor(tokens)).numpy(), plain)


def test_what_is_no_attention_is_not_taken_for_it(tokens):
    class Plain(nn.Module):
        def forward(self, x: Any) -> Any:
            return F.softmax(x, dim=1) + torch.sigmoid(x)

    net = Net(Plain).eval()
    assert not any(record.attends for record in adapt(net).survey(tokens))
    with pytest.raises(LayerError, match="'attn@attention': the layer computed no softmax"):
        adapt(net).run(tokens, ["attn@attention"], [one_class])


def test_calls_of_a_shared_layer_are_told_apart(tokens):
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Attention(fused())

        def forward(self, x: Any) -> Any:
            return self.inner(self.inner(x))

    net = Net(Twice).eval()
    names = ["attn.inner@attention#0", "attn.inner@attention#-1", "attn.inner@attention"]
    adapter = adapt(net)
    first, second, last = (adapter.run(tokens, names, [one_class]).layers[n] for n in names)
    np.testing.assert_array_equal(second.gradients[0], last.gradients[0])
    assert np.abs(first.activations - second.activations).max() > 1e-3
    alone = adapter.run(tokens, names[:1], [one_class]).layers[names[0]]
    np.testing.assert_allclose(first.gradients[0], alone.gradients[0], rtol=0, atol=1e-14)
    with pytest.raises(LayerError, match="#2': the layer ran 2 times, so #0 to #1 exist"):
        adapter.run(tokens, ["attn.inner@attention#2"])
    with (
        pytest.raises(LayerError, match="goes on from what a layer returns, not from"),
        adapter.resume(tokens[:1], "attn.inner@attention"),
    ):
        pass


def test_the_model_is_left_as_it_was(tokens):
    class Failing(Packed):
        fails = False

        def forward(self, x: Any) -> Any:  # type: ignore[override]
            y = super().forward(x)
            if self.fails:
                raise ZeroDivisionError
            return y

    net = Net(Failing).train()

    def state() -> Any:
        modules = [
            (m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in net.modules()
        ]
        modules += [{key: id(value) for key, value in vars(m).items()} for m in net.modules()]
        return modules, [(id(p), p._version, p.grad, p.requires_grad) for p in net.parameters()]

    before = state()
    camcore.explain(net, tokens, method="legrad", layout=camcore.Layout("tokens", (2, 3), 1))
    assert state() == before
    net.attn.fails = True
    before = state()
    for seeds in ([one_class], []):
        with pytest.raises(ZeroDivisionError):
            adapt(net).run(tokens, ["attn@attention"], seeds)
    assert state() == before
    assert torch._C._len_torch_function_stack() == 0


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 3, 48, 32)).astype(np.float32)


SMALL = {"img_size": (48, 32), "depth": 3, "num_classes": 3}


def directly(tokens: Any, blocks: Any, finish: Any) -> np.ndarray:
    """LeGrad's map of every block, each a function of tokens and what is added to attention."""
    places = torch.zeros(len(blocks), *blocks[0].shape, requires_grad=True)
    for block, zero in zip(blocks, places, strict=True):
        tokens = block.run(tokens, zero)
    (gradients,) = torch.autograd.grad(finish(tokens)[:, 1].sum(), places)
    return gradients.relu().mean((2, 3))[..., 1:].numpy()


def each_by_its_own(tokens: Any, blocks: Any, finish: Any) -> list[np.ndarray]:
    """LeGrad's map of every block, of what `finish` makes of the mean of the block's tokens."""
    maps = []
    for block in blocks:
        zero = torch.zeros(block.shape, requires_grad=True)
        tokens = block.run(tokens.detach(), zero)
        score = finish(tokens.mean(1, keepdim=True))[:, 1].sum()
        (gradients,) = torch.autograd.grad(score, zero)
        maps.append(gradients.relu().mean((1, 2))[..., 1:].numpy())
    return maps


class Block:
    """A pre-norm transformer block, by the parts of whoever made it."""

    def __init__(self, heads: int, qkv: Any, out: Any, norms: Any, mlp: Any, tokens: int) -> None:
        self.heads, self.qkv, self.out, self.norms, self.mlp = heads, qkv, out, norms, mlp
        self.shape = (2, heads, tokens, tokens)

    def run(self, x: Any, zero: Any) -> Any:
        q, k, v = (split(y, self.heads) for y in self.qkv(self.norms[0](x)).chunk(3, -1))
        attention = (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1) + zero
        x = x + self.out((attention @ v).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norms[1](x))


def close(result: Any, expected: np.ndarray) -> None:
    assert len(result.raw) == len(expected)
    for maps, direct in zip(result.raw.values(), expected, strict=True):
        direct = direct.reshape(maps.shape)
        np.testing.assert_allclose(maps, direct, rtol=0, atol=2e-5 * direct.max())


def test_torchvisions_vit(images, require):
    vision_transformer = require("torchvision.models.vision_transformer")
    torch.manual_seed(0)
    net = vision_transformer.VisionTransformer(32, 16, 3, 4, 64, 128, num_classes=3).eval()
    nn.init.normal_(net.heads.head.weight)
    square = images[:, :, :32]
    result = camcore.explain(net, square, target=1, method="legrad")
    assert list(result.raw)[-1] == "encoder.layers.encoder_layer_2.self_attention@attention"
    blocks = [
        Block(
            4,
            lambda x, a=layer.self_attention: F.linear(x, a.in_proj_weight, a.in_proj_bias),
            layer.self_attention.out_proj,
            (layer.ln_1, layer.ln_2),
            layer.mlp,
            5,
        )
        for layer in net.encoder.layers
    ]
    x = net._process_input(torch.tensor(square))
    x = torch.cat([net.class_token.expand(2, -1, -1), x], 1) + net.encoder.pos_embedding
    close(result, directly(x, blocks, lambda x: net.heads(net.encoder.ln(x[:, 0]))))


@pytest.mark.parametrize("in_one_kernel", [True, False])
def test_timms_vit(images, require, in_one_kernel):
    timm = require("timm")
    torch.manual_seed(0)
    net = timm.create_model("vit_tiny_patch16_224", **SMALL).eval()
    nn.init.normal_(net.head.weight)
    for block in net.blocks:
        block.attn.fused_attn = in_one_kernel
    result = camcore.explain(net, images, target=1, method="legrad")
    assert list(result.raw) == [f"blocks.{i}.attn@attention" for i in range(3)]
    assert result.maps.shape == (2, 48, 32)
    blocks = [
        Block(3, block.attn.qkv, block.attn.proj, (block.norm1, block.norm2), block.mlp, 7)
        for block in net.blocks
    ]
    x = net._pos_embed(net.patch_embed(torch.tensor(images)))

    def finish(x: Any) -> Any:
        return net.head(net.norm(x)[:, 0])

    close(result, directly(x, blocks, finish))
    own = camcore.explain(net, images, target=1, method="legrad", scored="block")
    close(own, each_by_its_own(x, blocks, finish))


def test_a_layer_stands_for_the_attention_inside_it(images, require):
    timm = require("timm")
    net = timm.create_model("vit_tiny_patch16_224", **SMALL).eval()
    nn.init.normal_(net.head.weight)
    every = camcore.explain(net, images, method="legrad").raw
    some = camcore.explain(net, images, layer=["blocks.1", net.blocks[2].attn], method="legrad")
    assert list(some.raw) == ["blocks.1.attn@attention", "blocks.2.attn@attention"]
    for name, maps in some.raw.items():
        np.testing.assert_allclose(maps, every[name], rtol=0, atol=1e-5 * maps.max())


class Mixed(nn.Module):
    """A timm ViT whose score is made of more than its last block, or of words too."""

    def __init__(self, vit: Any, read: str) -> None:
        super().__init__()
        self.vit, self.read = vit, read
        self.words = nn.Embedding(7, 3)
        self.pools = nn.ModuleList(
            nn.MultiheadAttention(192, 3, batch_first=True) for _ in range(2)
        )

    def forward(self, x: Any, words: Any = None) -> Any:
        vit = self.vit
        x = vit._pos_embed(vit.patch_embed(x))
        kept = [x := block(x) for block in vit.blocks]
        if self.read == "two":
            x = kept[0] + kept[-1]
        for pool in self.pools if self.read == "pooled twice" else ():
            x = pool(x[:, :1], kept[-1], kept[-1])[0]
        scores = vit.head(vit.norm(x)[:, 0])
        return scores if words is None else scores * self.words(words).mean(1)


@pytest.fixture
def vit(require):
    torch.manual_seed(0)
    net = require("timm").create_model("vit_tiny_patch16_224", **SMALL).eval()
    nn.init.normal_(net.head.weight)
    return net


@pytest.mark.parametrize(
    ("read", "message"),
    [
        ("two", "the score has more of 'vit.blocks.0' than what 'vit.blocks.1' makes of it"),
        ("pooled twice", "no layer is seen that returns the block of 'pools.0' alone"),
    ],
)
def test_where_the_head_does_not_follow_one_block_its_own_score_is_refused(
    vit, images, read, message
):
    net = Mixed(vit, read).eval()
    with pytest.raises(MethodError, match=f"{message}.*: scored='model'"):
        camcore.explain(net, images, 1, method="legrad", scored="block")
    assert camcore.explain(net, images, 1, method="legrad").maps.max() == 1
    with pytest.raises(MethodError, match="callable"):
        camcore.explain(vit, images, lambda y: y[:, 1], method="legrad", scored="block")


class Pooler(nn.Module):
    """CoCa's: queries that are learnt."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.ln_k = nn.Parameter(torch.randn(4, 16)), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(16, 2, kdim=width, vdim=width, batch_first=True)

    def forward(self, x: Any) -> Any:
        x = self.ln_k(x)
        return self.attn(self.query.expand(len(x), -1, -1), x, x, need_weights=False)[0]


class Pooled(nn.Module):
    """Blocks whose tokens CoCa's pooler reads, and a score of its first query."""

    def __init__(self, vit: Any) -> None:
        super().__init__()
        self.vit, self.pool = vit, Pooler(vit.embed_dim)
        self.ln_post, self.head = nn.LayerNorm(16), nn.Linear(16, 3)

    def forward(self, x: Any) -> Any:
        x = self.vit.blocks(self.vit._pos_embed(self.vit.patch_embed(x)))
        return self.head(self.ln_post(self.pool(x))[:, 0])


def siglip(net: Any, tokens: Any) -> tuple[Any, Any]:
    """What timm's pooler attends to in a block's tokens, and the model's scores of them."""
    pool, x = net.attn_pool, net.norm(tokens)[:, net.num_prefix_tokens :]
    q = split(pool.q(pool.latent.expand(len(x), -1, -1)), pool.num_heads)
    k, v = (split(y, pool.num_heads) for y in pool.kv(x).chunk(2, -1))
    seen = (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1)
    x = pool.proj((seen @ v).transpose(1, 2).flatten(2))
    return seen, net.head((x + pool.mlp(pool.norm(x)))[:, 0])


def coca(net: Any, tokens: Any) -> tuple[Any, Any]:
    """What the pooler of `Pooled` attends to in a block's tokens, and the model's scores."""
    x, pool = net.pool.ln_k(tokens), net.pool.attn
    weights = pool.q_proj_weight, pool.k_proj_weight, pool.v_proj_weight
    given = net.pool.query.expand(len(x), -1, -1), x, x
    q, k, v = (
        split(F.linear(one, weight, bias), pool.num_heads)
        for one, weight, bias in zip(given, weights, pool.in_proj_bias.chunk(3), strict=True)
    )
    seen = (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1)
    x = pool.out_proj((seen @ v).transpose(1, 2).flatten(2))
    return seen, net.head(net.ln_post(x)[:, 0])


@pytest.fixture(params=[(siglip, False), (siglip, True), (coca, False), (coca, True)])
def attention_pooled(request, require):
    """A small model whose head is an attention pooler, and its steps from a block's tokens on."""
    steps, token = request.param
    transformer = require("timm.models.vision_transformer")
    torch.manual_seed(0)
    sizes = {"img_size": (48, 32), "embed_dim": 24, "depth": 3, "num_heads": 3, "num_classes": 3}
    pool = "map" if steps is siglip else ""
    net = transformer.VisionTransformer(**sizes, class_token=token, global_pool=pool)
    net = net if steps is siglip else Pooled(net)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    return net.double().eval(), steps


def at_the_pooler(net: Any, steps: Any, images: Any, score: Any) -> list[np.ndarray]:
    """LeGrad's map of every block as its authors have it for SigLIP and CoCa, by their steps."""
    vit = getattr(net, "vit", net)
    x, maps = vit._pos_embed(vit.patch_embed(torch.tensor(images))), []
    for block in vit.blocks:
        x = block(x)
        seen, scores = steps(net, x)
        (gradients,) = torch.autograd.grad(score(scores).sum(), seen)
        maps.append(gradients.relu().mean((1, 2))[:, -6:].reshape(-1, 3, 2).numpy())
    return maps


def test_with_an_attention_pooler_each_block_is_seen_by_what_it_takes(attention_pooled, images):
    net, steps = attention_pooled
    images = images.astype(float)
    inside = "vit." if steps is coca else ""
    names = [f"{inside}blocks.{i}.attn@attention" for i in range(3)]
    maps = at_the_pooler(net, steps, images, lambda scores: scores[:, 1])
    how = {"method": "legrad", "scored": "block"}
    own = camcore.explain(net, images, 1, **how)
    assert list(own.raw) == names
    for name, expected in zip(names, maps, strict=True):
        assert expected.max() > 0
        np.testing.assert_allclose(own.raw[name], expected, rtol=1e-9, atol=1e-12 * expected.max())
    # What is steeper than a logit, and of each sample another class.
    bent = camcore.explain(net, images, camcore.targets.Probability([0, 2]), **how).raw
    rows = torch.arange(2), torch.tensor([0, 2])
    maps = at_the_pooler(net, steps, images, lambda scores: scores.softmax(1)[rows])
    for name, expected in zip(names, maps, strict=True):
        np.testing.assert_allclose(bent[name], expected, rtol=1e-9, atol=1e-12 * expected.max())
    # By the last two blocks and not by the pooler, added up, in [0, 1].
    authors = camcore.explain(net, images, 1, method="legrad", recipe="authors")
    assert list(authors.raw) == names[1:]
    # The model's own score is differentiated at the pooler's attention beside the blocks'.
    pooler = "pool.attn@attention" if steps is coca else "attn_pool@attention"
    plain = camcore.explain(net, images, 1, method="legrad").raw
    assert list(plain) == [*names, pooler]
    np.testing.assert_allclose(plain[pooler], own.raw[names[-1]], rtol=1e-9, atol=1e-15)
    for named in (pooler, [names[0], pooler]):
        with pytest.raises(MethodError, match=f"'{pooler}' pools what the blocks return"):
            camcore.explain(net, images, 1, named, **how)


def test_own_scores_are_of_each_samples_other_inputs(vit, images):
    net = Mixed(vit, "last").eval()
    words = np.array([[1, 2], [3, 4]])
    how = {"method": "legrad", "scored": "block"}
    both = camcore.explain(net, (images, words), 1, **how).raw
    plain = camcore.explain(vit, images, 1, **how).raw
    factors = net.words(torch.tensor(words)).mean(1)[:, 1].detach().numpy()
    for (name, maps), alone in zip(both.items(), plain.values(), strict=True):
        against = camcore.explain(vit, images, -Class(1), **how).raw[name[4:]]
        for i, factor in enumerate(factors):
            expected = factor * alone[i] if factor > 0 else -factor * against[i]
            np.testing.assert_allclose(maps[i], expected, rtol=0, atol=2e-5 * maps.max())


def test_the_authors_look_at_the_last_two_blocks_unless_told(vit, images):
    names = [f"blocks.{i}.attn@attention" for i in range(3)]
    explainer = camcore.Explainer(vit, method="legrad", recipe="authors")
    assert explainer.layers(images) == tuple(names[1:])
    assert list(explainer(images, 1).raw) == names[1:]
    # Others at the attention see all of it, beside it and after it.
    assert list(explainer.by_method("rollout")(images).raw) == names
    methods = ["legrad", "relevancy"]
    found = camcore.explain(vit, images, 1, method=methods, recipe="authors")
    assert [list(found[method].raw) for method in methods] == [names[1:], names]
    named = camcore.explain(vit, images, 1, "blocks", "legrad", "authors")
    assert list(named.raw) == names


def test_refusals(images, require):
    swin_transformer = require("torchvision.models.swin_transformer")
    x = images[:, :, :32]
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(3), nn.Softmax(-1))
    plain(torch.tensor(x))
    with pytest.raises(MethodError, match="None of the model's layers computes softmax attention"):
        camcore.explain(plain, x, method="legrad")
    swin = swin_transformer.SwinTransformer([4, 4], 8, [1, 1], [2, 2], [4, 4], num_classes=3)
    with pytest.raises(MethodError, match=r"'features.1.0.attn@attention': .* within windows"):
        camcore.explain(swin, x, method="legrad")
    with pytest.raises(MethodError, match=r"'features.0' computes no .* These do: 'features.1.0"):
        camcore.explain(swin, x, layer="features.0", method="legrad")
    # Its last stage is one window, which lies over the whole input.
    nn.init.normal_(swin.head.weight)
    assert camcore.explain(swin, x, layer="features.3", method="legrad").maps.max() == 1
