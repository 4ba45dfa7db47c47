"""``camcore explain``: what is printed and written is what the library says."""

from __future__ import annotations

import numpy as np
import pytest

import camcore as library
from camcore.batch import PreparedPhoto
from camcore.photos.crop import CentreCrop
from camcore.photos.io import read_photo, write_image


def test_one_photograph_gives_overlay_figure_and_arrays_of_the_librarys_own_explanation(
    camcore, photo, tiny, tmp_path
):
    out = tmp_path / "out"
    done = camcore("explain", photo, "--model", "tiny_models:named", "--output", out)
    assert done.exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "explanation.npz",
        "figure.png",
        "overlay.png",
    ]
    loaded = tiny.named()
    prepared = PreparedPhoto.for_model(loaded, read_photo(photo))
    expected = library.explain(loaded.model, prepared.inputs, activation="softmax")
    saved = library.load(out / "explanation.npz")
    assert np.array_equal(saved.maps, expected.maps)
    drawn = prepared.explained(expected).overlay(exact=True)
    assert np.array_equal(read_photo(out / "overlay.png"), drawn)
    best, probability = expected.top(1)[0][0]
    row = next(line for line in done.stdout.splitlines() if "%" in line)
    assert row.split()[-1] == f"{probability:.1%}"
    assert " ".join(row.split()[:-1]) == tiny.CLASSES[best]
    assert str(out) in done.stdout


@pytest.mark.parametrize("said", [[], ["--activation", "none"], ["--activation", "sigmoid"]])
def test_scores_are_shown_as_scores_unless_it_is_known_what_makes_probabilities(
    said, camcore, photo, tiny, tmp_path
):
    done = camcore("explain", photo, "-m", "tiny_models:raw", "--output", tmp_path, *said)
    prepared = PreparedPhoto.for_model(tiny.raw(), read_photo(photo))
    scores = library.explain(tiny.raw().model, prepared.inputs).outputs[0]
    best = int(scores.argmax())
    row = next(line for line in done.stdout.splitlines() if tiny.CLASSES[best] in line)
    expected = f"{1 / (1 + np.exp(-scores[best])):.1%}" if "sigmoid" in said else None
    assert row.split()[-1] == (expected or f"{scores[best]:.4g}")
    assert ("%" in done.stdout, "probability" in done.stdout) == (bool(expected),) * 2


def test_one_number_tells_two_classes_where_it_is_said(camcore, photo, tiny, tmp_path):
    asked = ["explain", photo, "-m", "tiny_models:alone", "--output", tmp_path]
    failed = camcore(*asked)
    assert failed.exit_code != 0
    assert "one number for two classes, cat and dog" in failed.stderr
    done = camcore(*asked, "--activation", "sigmoid", "--target", "cat")
    prepared = PreparedPhoto.for_model(tiny.alone(), read_photo(photo))
    (logit,) = library.explain(tiny.alone().model, prepared.inputs).outputs[0]
    assert f"of cat (class 0, score {-logit:.4g})" in done.stdout
    row = next(line for line in done.stdout.splitlines() if line.split()[:1] == ["dog"])
    assert row.split()[-1] == f"{1 / (1 + np.exp(-logit)):.1%}"


def test_the_overlay_has_the_photographs_size_and_is_bare_outside_the_models_view(
    camcore, photo, tiny, tmp_path
):
    camcore("explain", photo, "-m", "tiny_models:named", "--output", tmp_path / "out")
    shown, pixels = read_photo(tmp_path / "out" / "overlay.png"), read_photo(photo)
    seen = PreparedPhoto.for_model(tiny.named(), pixels).crop.seen()
    assert shown.shape == pixels.shape
    bare = ~seen & ~np.isin(shown, [0, 255]).all(axis=-1)  # the frame is black and white
    assert bare.sum() > 300
    assert np.array_equal(shown[bare], pixels[bare])
    assert (shown[seen] != pixels[seen]).any(axis=-1).mean() > 0.9


@pytest.mark.parametrize("target", ["1", "Tiger Cat", "tiger cat"])
def test_a_target_is_an_index_or_a_name(target, camcore, photo, tmp_path):
    done = camcore(
        "explain", photo, "-m", "tiny_models:named", "--target", target, "--output", tmp_path
    )
    assert "of tiger cat (class 1, score" in done.stdout
    assert library.load(tmp_path / "explanation.npz").classes.tolist() == [1]


def test_layers_method_and_recipe_are_passed_on(camcore, photo, tmp_path):
    camcore(
        *("explain", photo, "-m", "tiny_models:named", "--output", tmp_path),
        *("--layer", "relu1", "--layer", "relu2", "--method", "LayerCAM", "--recipe", "notebook"),
    )
    saved = library.load(tmp_path / "explanation.npz")
    assert saved.layers == ("relu1", "relu2")
    assert (saved.method, saved.recipe) == ("layercam", "notebook")


@pytest.mark.parametrize("recipe", list(library.recipes.TABLE))
def test_every_recipe_can_be_drawn(recipe, camcore, photo, tmp_path):
    done = camcore(
        *("explain", photo, "-m", "tiny_models:named", "--recipe", recipe, "--output", tmp_path)
    )
    assert done.exit_code == 0
    assert (tmp_path / "figure.png").stat().st_size > 5000


def test_without_an_output_the_folder_is_named_after_the_photograph(
    camcore, photo, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    camcore("explain", photo, "-m", "tiny_models:named")
    assert (tmp_path / "camcore-photo" / "overlay.png").exists()


def test_very_large_photographs_are_scaled_down(camcore, photo, tmp_path):
    camcore("explain", photo, "-m", "tiny_models:named", "--max-dim", 15, "--output", tmp_path)
    assert read_photo(tmp_path / "overlay.png").shape == (10, 15, 3)


def test_a_large_photograph_is_explained_in_tiles(camcore, tiny, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 45, 3), dtype=np.uint8)
    large = write_image(tmp_path / "large.png", pixels)
    words = ["-m", "tiny_models:named", "--tile", 8, "--overlap", 2, "--max-dim", 15]
    done = camcore("explain", large, *words, "--layer", "relu2", "--output", tmp_path)
    assert done.exit_code == 0, done.stderr
    found = library.load(tmp_path / "explanation.npz")
    expected = library.explain_tiles(
        tiny.named(), pixels, layer="relu2", tile=8, overlap=2, activation="softmax"
    )
    assert np.array_equal(found.maps, expected.maps)
    assert found.classes.tolist() == expected.classes.tolist()
    assert np.array_equal(read_photo(tmp_path / "overlay.png"), expected.overlay()[0])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--overlap", "2"], "give --tile, too"),
        (["--tile", "8", "--report"], "--tile is for one photograph"),
        (["--tile", "64"], "smaller than a tile of 64 by 64"),
    ],
)
def test_tiles_where_there_are_none_are_misuse(words, said, camcore, photo, tmp_path):
    done = camcore(
        "explain", photo, "-m", "tiny_models:named", *words, "--output", tmp_path / "out"
    )
    assert done.exit_code != 0
    assert said in " ".join(done.stderr.split())


def test_random_weights_and_unnamed_classes_are_said(camcore, photo, tmp_path):
    done = camcore("explain", photo, "-m", "tiny_models:untrained", "--output", tmp_path)
    assert "random weights" in done.stderr
    assert "class " in done.stdout


def test_what_is_assumed_of_a_models_preprocessing_is_said(camcore, photo, tmp_path):
    for model, is_assumed in (("tiny_models:bare", True), ("tiny_models:named", False)):
        done = camcore(
            "explain", photo, "-m", model, "--layer", "same", "--output", tmp_path / model
        )
        words = " ".join(done.stderr.split())
        assert ("it is shown RGB from 0 to 1, 224×224. If it was trained" in words) == is_assumed


def test_a_map_without_evidence_is_said(camcore, photo, tmp_path, tiny, monkeypatch):
    loaded = tiny.named()
    loaded.model.ops["fc"].weights[:] = -np.abs(loaded.model.ops["fc"].weights)
    monkeypatch.setattr(tiny, "named", lambda: loaded)
    done = camcore("explain", photo, "-m", "tiny_models:named", "--output", tmp_path)
    assert done.exit_code == 0
    assert "all zeros" in done.stderr
    assert not library.load(tmp_path / "explanation.npz").maps.any()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--target", "tigger cat"], "Did you mean tiger cat"),
        (["--target", "crane"], "[3, 4]"),
        (["--target", "99"], "99"),
        (["--target", "-1"], "-1"),
        (["--layer", "relu9"], "relu2"),
        (["--layer", "fc"], "fc"),
        (["--method", "gradcamm"], "'gradcam'"),
        (["--recipe", "notebok"], "notebook"),
        (["--model", "tiny_models:nothing"], "nothing"),
        (["--model", "nonsense"], "nonsense"),
        (["--weights", "some.pth"], "some.pth"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_1_or_2_where_it_names_nothing(
    words, says, camcore, photo, tmp_path
):
    out = tmp_path / "out"
    model = [] if "--model" in words else ["--model", "tiny_models:named"]
    done = camcore("explain", photo, *model, *words, "--output", out)
    named = says in ("'gradcam'", "notebook", "nonsense")
    assert done.exit_code == (2 if named else 1)
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error:")]
    assert len(errors) == 1
    assert says in errors[0]
    assert "Traceback" not in done.output
    assert done.stdout == ""
    assert not out.exists()


def test_a_file_that_is_no_image_is_named(camcore, tmp_path):
    text = tmp_path / "notes.md"
    text.write_text("no picture")
    done = camcore("explain", text, "-m", "tiny_models:named")
    assert done.exit_code == 1
    assert "notes.md is no image" in done.stderr


def test_a_folder_that_cannot_be_written_to_is_named(camcore, photo):
    done = camcore("explain", photo, "-m", "tiny_models:named", "--output", photo / "below")
    assert done.exit_code == 1
    assert "--output" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        *(["x.png"], ["x.png", "-m", "a:b", "--max-dim", "0"], ["--wat"]),
        *(["none.png", "-m", "tiny_models:named"], ["x.png", "-m", "a:b", "--colormap", "jett"]),
    ],
)
def test_misuse_is_exit_code_2(words, camcore):
    assert camcore("explain", *words).exit_code == 2


def test_a_model_without_preprocessing_sees_rgb_in_0_to_1(camcore, photo, tmp_path):
    done = camcore("explain", photo, "-m", "tiny_models:bare", "--output", tmp_path)
    assert done.exit_code == 0
    view = CentreCrop((30, 45), 224, 256).to_model(read_photo(photo))
    means = view.reshape(-1, 3).mean(axis=0) / 255
    outputs = library.load(tmp_path / "explanation.npz").outputs
    assert outputs[0] == pytest.approx(means, abs=1e-6)


@pytest.mark.parametrize("said", [(), ("--value-range", 0, 8191)])
def test_every_level_of_a_12_bit_photograph_reaches_the_model(said, camcore, tiny, tmp_path):
    from PIL import Image

    values = np.random.default_rng(0).integers(2048, 4096, (30, 45)).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "x-ray.png")
    done = camcore(
        "explain", tmp_path / "x-ray.png", "-m", "tiny_models:named", *said, "-o", tmp_path
    )
    high = said[-1] if said else 4095
    assert f"Values from 0 to {high} are black to white" in done.stdout
    pixels = (values[..., None] / high * 255).astype(np.float32).repeat(3, -1)
    view = CentreCrop(pixels.shape, 8, 10).to_model(pixels)
    expected = library.explain(tiny.named().model, tiny.preprocess(view))
    found = library.load(tmp_path / "explanation.npz")
    np.testing.assert_allclose(found.outputs, expected.outputs, rtol=1e-6)
    np.testing.assert_allclose(found.maps, expected.maps, rtol=0, atol=1e-6)


@pytest.mark.parametrize("named", ["model", "weights"])
def test_no_result_is_written_over_a_file_of_the_model(named, camcore, photo, tmp_path):
    (tmp_path / "overlay.png").write_bytes(b"not a model")
    words = {
        "model": ("-m", f"keras-file:{tmp_path / 'overlay.png'}"),
        "weights": ("-m", "torchvision:resnet18", "--weights", tmp_path / "overlay.png"),
    }[named]
    done = camcore("explain", photo, *words, "-o", tmp_path)
    assert done.exit_code == 1
    assert "overlay.png" in done.stderr
    assert (tmp_path / "overlay.png").read_bytes() == b"not a model"
