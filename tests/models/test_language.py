"""Models of pictures and words: a word of a caption, and prompts as classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import camcore
from camcore.errors import GradientError, InputError, LayerError, MethodError, TargetError
from camcore.targets import Class, Linear, Token

IMAGE = 49
"""The id that holds the place of an image token."""

VISION = "model.vision_tower.encoder.layers.1.layer_norm1"
PROJECTED = "model.multi_modal_projector"
AMONG_WORDS = "model.language_model.layers.1.input_layernorm"

TOWER = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
}  # fmt: skip
WORDS = {"vocab_size": 50, "bos_token_id": 0, "eos_token_id": 1, "max_position_embeddings": 8}
PICTURES = {**TOWER, "image_size": 64, "patch_size": 16}


@pytest.fixture(scope="module")
def transformers(require):
    return require("transformers")


@pytest.fixture(scope="module")
def llava(transformers):
    """LLaVA with a vision tower of three layers, of which it reads the second."""
    torch.manual_seed(0)
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**{**PICTURES, "num_hidden_layers": 3}),
        text_config=transformers.LlamaConfig(
            **{**TOWER, "hidden_size": 24}, num_key_value_heads=2, vocab_size=50
        ),
        image_token_index=IMAGE,
        vision_feature_layer=-2,
        image_seq_length=16,
    )
    return transformers.LlavaForConditionalGeneration(config).eval()


def caption(before=2, after=3, seed=0, batch=1):
    """Image tokens among words, and pictures."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(2, 40, (batch, before + after), generator=generator)
    image = torch.full((batch, 16), IMAGE)
    ids = torch.cat([words[:, :before], image, words[:, before:]], 1)
    pictures = torch.randn(batch, 3, 64, 64, generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pictures}


def captured(model, layer, inputs, position, index):
    """What a layer returns, and the gradient there of each sample's logit, by hooks."""
    kept = {}

    def keep(module, args, output):
        kept["output"] = output.retain_grad() or output

    handle = model.get_submodule(layer).register_forward_hook(keep)
    try:
        logits = model(**inputs).logits
    finally:
        handle.remove()
    logits[:, position, index].sum().backward()
    model.zero_grad(set_to_none=True)
    output = kept["output"]
    return output.detach().numpy(), output.grad.numpy()


def on_grid(tokens, first):
    """Sixteen tokens from `first` on, (B, C, 4, 4)."""
    patches = tokens[:, first : first + 16]
    return patches.swapaxes(1, 2).reshape(len(tokens), -1, 4, 4)


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("layer", "first"), [(VISION, 1), (PROJECTED, 0), (AMONG_WORDS, 2)])
def test_gradients_of_a_word_come_to_each_part_of_the_model(llava, layer, first):
    inputs = caption(batch=2)
    activations, gradients = (on_grid(one, first) for one in captured(llava, layer, inputs, -1, 3))
    found = camcore.explain(
        llava, inputs, Token(-1, 3), layer=layer, method=["gradcam", "hirescam", "layercam"]
    )
    raw = {name: one.raw[layer] for name, one in found.items()}
    close(raw["gradcam"], np.einsum("bc,bcij->bij", gradients.mean((2, 3)), activations))
    close(raw["hirescam"], (gradients * activations).sum(1))
    close(raw["layercam"], (np.maximum(gradients, 0) * activations).sum(1))
    with torch.no_grad():
        logits = llava(**inputs).logits.numpy()
    np.testing.assert_allclose(found["gradcam"].scores, logits[:, -1, 3], rtol=1e-5)
    assert found["gradcam"].maps.shape == (2, 64, 64)


def test_a_token_is_the_linear_target_of_its_logit(llava):
    inputs, weights = caption(), np.zeros((21, 50), np.float32)
    weights[17, 3] = 1
    one = camcore.explain(llava, inputs, Token(17, 3), layer=VISION)
    other = camcore.explain(llava, inputs, Linear(weights), layer=VISION)
    np.testing.assert_array_equal(one.maps, other.maps)
    native = camcore.explain(llava, inputs, lambda o: o.logits[:, 17, 3], layer=VISION)
    np.testing.assert_allclose(native.raw[VISION], one.raw[VISION], rtol=1e-6)


def test_a_layer_is_chosen_before_the_last_attention(llava):
    result = camcore.explain(llava, caption(), Token(-1, 3))
    assert list(result.raw) == [AMONG_WORDS]


@pytest.mark.parametrize("smooth", [False, True])
def test_the_token_map_reads_the_logits_of_image_tokens(llava, smooth):
    inputs = caption(batch=2)
    with torch.no_grad():
        logits = llava(**inputs).logits.numpy()
    read = on_grid(logits[:, :, [7]], 2)[:, 0]
    expected = camcore.methods.tokencam(read, smooth=smooth)
    found = camcore.explain(llava, inputs, Token(-1, 7), method="tokencam", smooth=smooth)
    np.testing.assert_allclose(found.raw["@output"], expected, rtol=1e-6, atol=1e-9)
    assert found.raw["@output"].max() > 0
    assert (found.frame, found.maps.shape) == ("input", (2, 64, 64))


def test_the_token_map_is_cam_at_the_final_norm(llava):
    hidden, _ = captured(llava, "model.language_model.norm", caption(), -1, 7)
    head = llava.lm_head.weight.detach().numpy()
    cam = camcore.methods.cam(on_grid(hidden, 2), head[[7]])
    found = camcore.explain(llava, caption(), Token(-1, 7), method="tokencam").raw["@output"]
    close(found, np.maximum(cam, 0))


def test_the_token_map_needs_no_gradient_and_takes_sums_of_tokens(llava):
    one, other, both = (
        camcore.explain(llava, caption(), target, method="tokencam").raw["@output"]
        for target in (Token(-1, 7), -1 * Token(-1, 7), Token(-1, 7) + 0.5 * Token(-2, 8))
    )
    with torch.no_grad():
        logits = on_grid(llava(**caption()).logits.numpy(), 2)
    close(one - other, logits[:, 7])
    close(both, np.maximum(logits[:, 7] + 0.5 * logits[:, 8], 0))
    assert not camcore.methods.find("tokencam").backward


def test_earlier_words_are_taken_out(llava):
    with torch.no_grad():
        logits = llava(**caption()).logits.numpy()
    later, first = np.maximum(logits[0, 2:18], 0).sum(0).argsort()[-2:]
    earlier = camcore.explain(llava, caption(), Token(-2, first), method="tokencam").raw["@output"]
    alone = camcore.explain(llava, caption(), Token(-1, later), method="tokencam").raw["@output"]
    found = camcore.explain(llava, caption(), Token(-1, later), method="tokencam", less=[earlier])
    share = (alone * earlier).sum() / (earlier**2).sum()
    close(found.raw["@output"], np.maximum(alone - share * earlier, 0))
    assert share > 0


@pytest.mark.parametrize("before", [0, 2, 5])
def test_the_image_is_found_by_the_ids_of_each_prompt(llava, before):
    """Prompts as long as another, of one model: where the image stood before says nothing."""
    camcore.explain(llava, caption(4, 1), Token(-1, 3), layer=AMONG_WORDS)
    inputs = caption(before, 5 - before)
    activations, gradients = captured(llava, AMONG_WORDS, inputs, -1, 3)
    found = camcore.explain(llava, inputs, Token(-1, 3), layer=AMONG_WORDS, method="hirescam")
    close(found.raw[AMONG_WORDS], on_grid(activations * gradients, before).sum(1))


def test_the_same_is_found_without_a_configuration(llava):
    """What ids mean is not known of a module of one's own: corners of the picture tell."""

    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.llava = llava

        def forward(self, pixel_values, input_ids):
            return self.llava(input_ids=input_ids, pixel_values=pixel_values).logits

    own, layer = Own().eval(), f"llava.{AMONG_WORDS}"
    for before in (4, 2):
        inputs = caption(before, 5 - before)
        activations, gradients = captured(llava, AMONG_WORDS, inputs, -1, 3)
        given = {name: inputs[name] for name in ("pixel_values", "input_ids")}
        found = camcore.explain(own, given, Token(-1, 3), layer=layer, method="hirescam")
        close(found.raw[layer], on_grid(activations * gradients, before).sum(1))
    one, other = caption(4, 1), caption(2, 3)
    both = {name: torch.cat([one[name], other[name]]) for name in ("pixel_values", "input_ids")}
    with pytest.raises(LayerError, match="tokens, which may be"):
        camcore.explain(own, both, Token(-1, 3), layer=layer)


def test_images_at_other_places_in_other_samples_are_refused(llava):
    one, other = caption(4, 1), caption(2, 3)
    both = {name: torch.cat([one[name], other[name]]) for name in one}
    for options in ({"layer": AMONG_WORDS}, {"method": "tokencam"}):
        with pytest.raises(LayerError, match=r"other samples \(they begin at \[4\], \[2\]\), so"):
            camcore.explain(llava, both, Token(-1, 3), **options)
    whole = camcore.explain(llava, both, Token(-1, 3), layer=VISION)
    for i, alone in enumerate((one, other)):
        close(
            whole.raw[VISION][i], camcore.explain(llava, alone, Token(-1, 3), VISION).raw[VISION][0]
        )


def test_several_images_and_other_grids_are_refused(llava):
    ids = torch.full((1, 21), IMAGE)
    ids[:, [0, 6, 12, 18, 20]] = 5
    inputs = {**caption(), "input_ids": ids}
    with pytest.raises(LayerError, match=r"The ids have 4 runs of image tokens, and a map lies ov"):
        camcore.explain(llava, inputs, Token(-1, 3), method="tokencam")
    layout = camcore.Layout("tokens", grid=(3, 5))
    with pytest.raises(LayerError, match=r"\(3, 5\) does not fit the 16 image tokens"):
        camcore.explain(llava, caption(), Token(-1, 3), method="tokencam", layout=layout)
    layout = camcore.Layout("tokens", grid=(2, 8))
    found = camcore.explain(llava, caption(), Token(-1, 7), method="tokencam", layout=layout)
    square = camcore.explain(llava, caption(), Token(-1, 7), method="tokencam")
    assert found.raw["@output"].shape == (1, 2, 8)
    np.testing.assert_array_equal(found.raw["@output"].ravel(), square.raw["@output"].ravel())


def test_image_tokens_that_stand_for_no_place_are_refused(llava):
    """Queries that look at all of the picture, as many as a merged grid would have."""

    class Queries(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.config = llava.config
            self.cut = torch.nn.Conv2d(3, 16, 8, 8)
            self.queries = torch.nn.Parameter(torch.randn(16, 64))
            self.embed, self.norm = torch.nn.Embedding(50, 16), torch.nn.LayerNorm(16)
            self.head = torch.nn.Linear(16, 50)

        def forward(self, input_ids, pixel_values):
            looked = self.queries @ self.cut(pixel_values).flatten(2).mT
            own = self.embed(input_ids).masked_scatter((input_ids == IMAGE)[..., None], looked)
            return self.head(self.norm(own))

    inputs = {name: caption()[name] for name in ("input_ids", "pixel_values")}
    with pytest.raises(LayerError, match="ay it: layout="):
        camcore.explain(Queries().eval(), inputs, Token(-1, 3), method="tokencam")


def test_the_token_map_explains_tokens_alone(llava):
    for target in (Linear(np.ones((21, 50))), lambda o: o.logits[:, -1, 3]):
        with pytest.raises(
            MethodError, match=r"its target is camcore.targets.Token\(position, id\)"
        ):
            camcore.explain(llava, caption(), target, method="tokencam")
    for target in (None, Class(3)):
        with pytest.raises(TargetError, match="Similarity, Token, Linear"):
            camcore.explain(llava, caption(), target)


def test_legrad_leaves_out_what_the_model_does_not_read(llava):
    """The tower's last layer runs, and the one before is read."""
    vision = [f"model.vision_tower.encoder.layers.{i}.self_attn@attention" for i in range(2)]
    words = [f"model.language_model.layers.{i}.self_attn@attention" for i in range(2)]
    assert list(camcore.explain(llava, caption(), Token(-1, 3), method="legrad").raw) == [
        *vision,
        *words,
    ]
    tower = camcore.explain(
        llava, caption(), Token(-1, 3), method="legrad", layer="model.vision_tower"
    )
    assert list(tower.raw) == vision
    assert min(maps.max() for maps in tower.raw.values()) > 0
    last = "model.vision_tower.encoder.layers.2.self_attn"
    with pytest.raises(GradientError, match=r"layers.2.self_attn@attention': no gradient"):
        camcore.explain(llava, caption(), Token(-1, 3), method="legrad", layer=last)


def test_legrad_of_a_word_is_its_formula(llava):
    name, inputs = "model.language_model.layers.1.self_attn", caption()
    kept = {}
    attend = llava.config._attn_implementation
    llava.set_attn_implementation("eager")
    try:

        def keep(module, args, output):
            kept["attention"] = output[1]
            output[1].retain_grad()

        handle = llava.get_submodule(name).register_forward_hook(keep)
        llava(**inputs, output_attentions=True).logits[0, -1, 3].backward()
        handle.remove()
    finally:
        llava.set_attn_implementation(attend)
        llava.zero_grad(set_to_none=True)
    gradients = kept["attention"].grad.numpy()[:, :, :, 2:18]
    expected = np.maximum(gradients, 0).mean((1, 2)).reshape(1, 4, 4)
    found = camcore.explain(llava, inputs, Token(-1, 3), method="legrad", layer=name)
    close(found.raw[f"{name}@attention"], expected)


@pytest.fixture(scope="module")
def qwen(transformers):
    """Qwen2-VL, whose processor hands patches over flat and stacked."""
    torch.manual_seed(0)
    config = transformers.Qwen2VLConfig(
        vision_config={
            "depth": 2, "embed_dim": 16, "hidden_size": 24, "num_heads": 2, "mlp_ratio": 2,
            "patch_size": 8,
        },
        text_config={
            **TOWER, "hidden_size": 24, "num_key_value_heads": 2, "vocab_size": 60,
            "bos_token_id": 0, "eos_token_id": 1,
            "rope_parameters": {
                "rope_type": "default", "mrope_section": [2, 2, 2], "rope_theta": 10000.0,
            },
        },
        image_token_id=59, video_token_id=58, vision_start_token_id=57, vision_end_token_id=56,
    )  # fmt: skip
    return transformers.Qwen2VLForConditionalGeneration(config).eval()


class Pictured(torch.nn.Module):
    """Cuts pictures (B, 3, H, W) as Qwen2-VL's processor does, blocks of patches in a row."""

    def __init__(self, model):
        super().__init__()
        self.model, self.config = model, model.config

    def forward(self, pictures, **words):
        vision = self.config.vision_config
        side, block, frames = (
            vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size
        )  # fmt: skip
        batch, channels, height, width = pictures.shape
        rows, columns = height // side, width // side
        cut = pictures.reshape(
            batch, channels, rows // block, block, side, columns // block, block, side
        )
        cut = cut.permute(0, 2, 5, 3, 6, 1, 4, 7).unsqueeze(6).expand(*[-1] * 6, frames, -1, -1)
        return self.model(
            pixel_values=cut.reshape(batch * rows * columns, -1),
            image_grid_thw=torch.tensor([[1, rows, columns]] * batch),
            **words,
        )


def question(batch=1):
    """A picture of 8 × 12 patches, merged to 4 × 6 tokens, among words."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.cat(
        [torch.tensor([[5, 57]]), torch.full((1, 24), 59), torch.tensor([[56, 7, 8]])], 1
    )
    ids = ids.repeat(batch, 1)
    return {
        "pictures": torch.rand(batch, 3, 64, 96, generator=generator),
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": (ids == 59).int(),
    }


def test_pictures_are_cut_as_the_processor_cuts_them(transformers, qwen):
    seen = {}
    qwen.model.visual.patch_embed.register_forward_pre_hook(
        lambda module, args: seen.update(rows=args[0].detach().numpy())
    )
    inputs = question()
    with torch.no_grad():
        Pictured(qwen)(**inputs)
    processor = transformers.Qwen2VLImageProcessor(
        patch_size=8, do_resize=False, do_rescale=False, do_normalize=False
    )
    rows = processor(
        inputs["pictures"][0].numpy(), return_tensors="np", input_data_format="channels_first"
    )
    np.testing.assert_allclose(seen["rows"], rows["pixel_values"], rtol=1e-6)
    assert rows["image_grid_thw"].tolist() == [[1, 8, 12]]


def test_a_word_of_qwen_is_explained_where_it_is_given_pictures(qwen):
    model, layer = Pictured(qwen), "model.model.language_model.layers.1.input_layernorm"
    inputs = question(2)
    activations, gradients = captured(model, layer, inputs, -1, 3)
    product = (activations * gradients)[:, 2:26].sum(-1).reshape(2, 4, 6)
    found = camcore.explain(model, inputs, Token(-1, 3), method=["hirescam", "tokencam"])
    close(found["hirescam"].raw[layer], product)
    with torch.no_grad():
        logits = model(**inputs).logits.numpy()
    expected = np.maximum(logits[:, 2:26, 3], 0).reshape(2, 4, 6)
    np.testing.assert_allclose(found["tokencam"].raw["@output"], expected, rtol=1e-4, atol=1e-7)
    pictures = inputs["pictures"].clone().requires_grad_()
    model(**{**inputs, "pictures": pictures}).logits[:, -1, 3].sum().backward()
    saliency = camcore.explain(model, inputs, Token(-1, 3), method="saliency")
    close(saliency.raw["@input"], pictures.grad.abs().amax(1).numpy())


@pytest.mark.filterwarnings("ignore:.*runs 2 times:UserWarning")
@pytest.mark.parametrize(
    ("batch", "options", "error", "words"),
    [
        (
            1,
            {"method": "legrad"},
            LayerError,
            "96 patches in rows without a batch axis, in an order",
        ),
        (2, {"method": "legrad"}, MethodError, "is computed within windows"),
        (1, {}, LayerError, "returns 96 rows for 1 samples"),
    ],
)
def test_patches_in_an_order_of_the_models_own_are_refused(qwen, batch, options, error, words):
    layer = "model.model.visual.blocks.1" + (".attn" if options else "")
    with pytest.raises(error, match=words):
        camcore.explain(Pictured(qwen), question(batch), Token(-1, 3), layer=layer, **options)


def test_flat_patches_are_refused_with_what_to_do(qwen):
    words = {name: one for name, one in question().items() if name != "pictures"}
    given = {
        **words,
        "pixel_values": torch.randn(96, 384),
        "image_grid_thw": torch.tensor([[1, 8, 12]]),
    }
    for options in ({}, {"method": "tokencam"}, {"layer": "model.visual.merger"}):
        with pytest.raises(InputError, match=r"'pixel_values' \(96, 384\) holds patches cut flat"):
            camcore.explain(qwen, given, Token(-1, 3), **options)


PROMPTS = ["a photo of a cat", "a photo of a dog", "a photo of an emu"]


@pytest.fixture(scope="module", params=["CLIP", "Siglip"])
def dual(transformers, request):
    torch.manual_seed(0)
    own = {"projection_dim": 8} if request.param == "CLIP" else {}
    config = getattr(transformers, f"{request.param}Config")(
        text_config={**TOWER, **WORDS}, vision_config=PICTURES, **own
    )
    return getattr(transformers, f"{request.param}Model")(config).eval()


def prompted(count, batch=2):
    generator = torch.Generator().manual_seed(2)
    texts = torch.randint(2, 50, (count, 8), generator=generator)
    texts[:, -1] = 1
    return {"input_ids": texts, "pixel_values": torch.rand(batch, 3, 64, 64, generator=generator)}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_prompts_are_classes(dual, count):
    """The similarity of an image to a prompt, as towers and projections by themselves give it."""
    inputs, prompts = prompted(count), PROMPTS[:count]
    found = camcore.explain(
        dual, inputs, prompts[-1], classes=prompts, method=["gradcam", "hirescam"]
    )
    (layer,) = found["gradcam"].raw
    is_clip = type(dual).__name__ == "CLIPModel"
    assert layer == (
        "vision_model.encoder.layers.1.layer_norm1" if is_clip else "vision_model.post_layernorm"
    )
    kept = {}
    handle = dual.get_submodule(layer).register_forward_hook(
        lambda module, args, output: kept.update(output=output.retain_grad() or output)
    )
    seen = dual.vision_model(pixel_values=inputs["pixel_values"]).pooler_output
    handle.remove()
    read = dual.text_model(input_ids=inputs["input_ids"]).pooler_output
    if is_clip:
        seen, read = dual.visual_projection(seen), dual.text_projection(read)
    seen, read = (one / one.norm(dim=-1, keepdim=True) for one in (seen, read))
    scores = dual.logit_scale.exp() * seen @ read.T + (0 if is_clip else dual.logit_bias)
    scores[:, -1].sum().backward()
    dual.zero_grad(set_to_none=True)
    activations, gradients = (
        on_grid(one.detach().numpy(), 1 if is_clip else 0)
        for one in (kept["output"], kept["output"].grad)
    )
    result = found["gradcam"]
    np.testing.assert_allclose(result.outputs, scores.detach().numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(result.scores, result.outputs[:, -1])
    close(result.raw[layer], np.einsum("bc,bcij->bij", gradients.mean((2, 3)), activations))
    close(found["hirescam"].raw[layer], (gradients * activations).sum(1))
    assert result.names == tuple(prompts)
    assert result.classes.tolist() == [count - 1] * 2


def test_the_predicted_prompt_and_its_probability(dual):
    inputs = prompted(3)
    is_clip = type(dual).__name__ == "CLIPModel"
    activation = "softmax" if is_clip else "sigmoid"
    result = camcore.explain(dual, inputs, classes=PROMPTS, activation=activation)
    with torch.no_grad():
        logits = dual(**inputs).logits_per_image
    expected = logits.softmax(1) if is_clip else logits.sigmoid()
    np.testing.assert_allclose(result.probabilities, expected.numpy(), rtol=1e-4)
    assert result.classes.tolist() == logits.argmax(1).tolist()


def test_legrad_and_occlusion_of_a_prompt_look_at_the_picture(dual):
    inputs = prompted(2)
    found = camcore.explain(dual, inputs, PROMPTS[1], classes=PROMPTS[:2], method="legrad")
    assert all(name.startswith("vision_model.") for name in found.raw)
    covered = camcore.explain(
        dual, inputs, PROMPTS[1], classes=PROMPTS[:2], method="occlusion", window=32, stride=32,
        progress=False,
    ).raw["@input"]  # fmt: skip
    with torch.no_grad():
        whole = dual(**inputs).logits_per_image[:, 1]
        hidden = inputs["pixel_values"].clone()
        hidden[:, :, :32, :32] = 0
        fallen = (
            whole - dual(input_ids=inputs["input_ids"], pixel_values=hidden).logits_per_image[:, 1]
        )
    np.testing.assert_allclose(covered[:, 0, 0], fallen.numpy(), rtol=1e-3, atol=1e-5)


def of_siglip(dual, inputs, found):
    """Hold maps to the gradient at the pooler's attention to what each block returns."""
    tower = dual.vision_model
    text = dual.text_model(input_ids=inputs["input_ids"]).pooler_output[1]
    seen = tower(pixel_values=inputs["pixel_values"], output_hidden_states=True)
    assert len(found) == len(seen.hidden_states) - 1 == 2
    head, f = tower.head, torch.nn.functional
    width, heads = head.probe.shape[-1], head.attention.num_heads
    weights, biases = head.attention.in_proj_weight.chunk(3), head.attention.in_proj_bias.chunk(3)
    for maps, tokens in zip(found.values(), seen.hidden_states[1:], strict=True):
        x = tower.post_layernorm(tokens)
        given = head.probe.expand(len(x), -1, -1), x, x
        q, k, v = (
            f.linear(one, *by).unflatten(-1, (heads, -1)).transpose(1, 2)
            for one, *by in zip(given, weights, biases, strict=True)
        )
        attention = (q @ k.mT * (width // heads) ** -0.5).softmax(-1)
        pooled = head.attention.out_proj((attention @ v).transpose(1, 2).flatten(2))
        pooled = (pooled + head.mlp(head.layernorm(pooled)))[:, 0]
        scores = f.cosine_similarity(pooled, text[None]) * dual.logit_scale.exp()
        (slope,) = torch.autograd.grad(scores.sum(), attention, retain_graph=True)
        expected = slope.relu().mean((1, 2)).reshape(maps.shape).detach().numpy()
        np.testing.assert_allclose(maps, expected, rtol=0, atol=1e-5 * expected.max())


def test_blocks_of_the_picture_are_scored_by_what_each_returns(dual):
    """As the authors do: CLIP's normed, projected and compared with the prompt; SigLIP's pooled."""
    inputs = prompted(2)
    how = {"classes": PROMPTS[:2], "method": "legrad", "scored": "block"}
    found = camcore.explain(dual, inputs, PROMPTS[1], **how).raw
    if type(dual).__name__ != "CLIPModel":
        of_siglip(dual, inputs, found)
        return
    before = dual.config._attn_implementation
    dual.set_attn_implementation("eager")
    try:
        seen = dual.vision_model(
            pixel_values=inputs["pixel_values"], output_attentions=True, output_hidden_states=True
        )
    finally:
        dual.set_attn_implementation(before)
    text = dual.text_projection(dual.text_model(input_ids=inputs["input_ids"]).pooler_output)[1]
    assert len(found) == len(seen.attentions) == 2
    for maps, attention, tokens in zip(
        found.values(), seen.attentions, seen.hidden_states[1:], strict=True
    ):
        mean = dual.visual_projection(dual.vision_model.post_layernorm(tokens.mean(1)))
        scores = torch.nn.functional.cosine_similarity(mean, text[None]) * dual.logit_scale.exp()
        (slope,) = torch.autograd.grad(scores.sum(), attention, retain_graph=True)
        expected = slope.relu().mean((1, 2))[:, 1:].reshape(maps.shape).numpy()
        np.testing.assert_allclose(maps, expected, rtol=0, atol=1e-5 * expected.max())


@pytest.mark.parametrize("layer", [None, "model.vision_tower", "model.language_model"])
def test_blocks_of_several_towers_are_not_scored_by_themselves(llava, layer):
    how = {"layer": layer, "method": "legrad", "scored": "block"}
    with pytest.raises(MethodError, match=r"is not had here: .* scored='model'"):
        camcore.explain(llava, caption(), Token(-1, 3), **how)
