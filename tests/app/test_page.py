"""The page in a real Chromium, worked by pointer and by keys."""

from __future__ import annotations

import json
import time
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest

import camcore
from camcore.app import PageRequest
from camcore.app.session import read_photo, sample
from camcore.viz.explanation import class_name

SECONDS = 60
"""How long something may take on a busy machine."""

OF_GRADIO = "Method not implemented."
"""What Gradio itself warns of each time an upload ends, whatever the page."""


@pytest.fixture
def screen(chromium, server):
    """Open the page at a size; closes it again before the next."""

    def opened(query="", width=1280, height=1100, scheme="light"):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        chromium.get("about:blank")
        for kind in ("browser", "performance"):
            chromium.get_log(kind)
        chromium.get(f"{server}?{query}")
        return Screen(chromium, server)

    yield opened
    chromium.get("about:blank")
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


class Screen:
    """What a person sees and does."""

    def __init__(self, browser, server):
        from selenium.webdriver.common.by import By

        self.browser, self.server, self.css = browser, server, By.CSS_SELECTOR
        self.until(lambda: self.pictures("#picture"))
        self.until(lambda: "photo" in self.query)

    def find(self, selector):
        return self.browser.find_elements(self.css, selector)

    def text(self, selector):
        return " ".join(one.get_attribute("textContent") for one in self.find(selector))

    def until(self, true):
        from selenium.common.exceptions import StaleElementReferenceException

        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            try:
                if found := true():
                    return found
            except (IndexError, StaleElementReferenceException):
                pass
            time.sleep(0.1)
        raise AssertionError(f"not within {SECONDS} s; the page says {self.text('body')[:2000]}")

    @property
    def query(self):
        query = urlparse(self.browser.current_url).query
        return {name: values[0] for name, values in parse_qs(query).items()}

    @property
    def caption(self):
        return self.text("#picture figcaption")

    def tab(self, name):
        for one in self.find("[role=tab]"):
            if one.is_displayed() and one.text == name:
                one.click()
                return
        # On a phone, the tabs that have no room are in a menu.
        self.find("[aria-label='More tabs']")[0].click()
        hidden = self.until(lambda: [b for b in self.find(".overflow-dropdown button") if b.text])
        next(one for one in hidden if one.text == name).click()

    def choose(self, label, option):
        """Choose of a list by typing a part of its name and Enter."""
        from selenium.webdriver.common.keys import Keys

        field = self.until(lambda: self.find(f'input[aria-label="{label}"]'))[0]
        field.click()
        # One by one, or Control stays pressed.
        for keys in (Keys.CONTROL + "a", Keys.DELETE, option):
            field.send_keys(keys)
        self.until(lambda: self._offered(option))
        field.send_keys(Keys.ENTER)

    def _offered(self, option):
        found = [one.text for one in self.find("[role=option]") if one.is_displayed()]
        return found and all(option.lower() in one.lower() for one in found)

    def pictures(self, selector):
        return self.browser.execute_script(
            "return [...document.querySelectorAll(arguments[0])].filter("
            "i => i.complete && i.naturalWidth > 0).map(i => [i.alt, i.src.length])",
            f"{selector} img",
        )

    def pressed(self):
        return [one.text for one in self.find('#classes button[aria-pressed="true"] .cam-name')]

    def console(self):
        return [one for one in self.browser.get_log("browser") if OF_GRADIO not in one["message"]]

    def asked(self):
        log = (
            json.loads(entry["message"])["message"] for entry in self.browser.get_log("performance")
        )
        return {
            entry["params"]["request"]["url"]
            for entry in log
            if entry["method"] == "Network.requestWillBeSent"
        }


def test_every_tab_by_pointer_with_a_clean_console_and_nothing_from_outside(screen, bench):
    page = screen()
    photo = sample("chelsea")
    predicted = bench.explain(PageRequest(), photo)
    assert (
        page.caption == f"Grad-CAM for {predicted.explained} at {predicted.explanation.layers[0]}"
    )
    assert len(page.pictures("#picture")) == 1
    rows = [(row.text.splitlines()) for row in page.find("#classes button")]
    assert rows == [[name, f"{value:.1%}"] for _, name, value in predicted.top]
    assert page.pressed() == [predicted.explained]

    index, name, _ = predicted.top[1]
    page.find("#classes button")[1].click()
    page.until(lambda: page.query.get("target") == str(index))
    page.until(lambda: page.pressed() == [name])
    assert f"for {name} " in page.caption
    assert f"target={index}" in page.text("#python .cm-content")

    page.tab("Methods")
    page.until(lambda: len(page.pictures("#methods")) == 4)
    captions = [one.text for one in page.find("#methods figcaption")]
    assert captions == ["Grad-CAM", "Grad-CAM++", "HiResCAM", "LayerCAM"]
    assert "'hirescam'" in page.text("#python .cm-content")

    page.tab("Layers")
    layers = bench.model("").layers
    page.until(lambda: len(page.pictures("#layers")) == len(layers))
    assert [one.text for one in page.find("#layers figcaption")] == [one.label for one in layers]

    page.tab("Two models")
    page.until(lambda: len(page.pictures("#compared")) == 3)
    found = bench.compared(PageRequest(target=index), photo, list(bench.models)[1], None)
    assert f"{found.comparison.pairs[0].numbers(0)['largest']:.3g}" in page.text("#compared table")
    assert "camcore compare" in page.text("#shell .cm-content")

    page.tab("Deletion, insertion")
    page.until(lambda: page.find("#trace")[0].is_displayed())
    page.find("#trace")[0].click()
    page.until(lambda: len(page.pictures("#fed")) == 2)
    assert "deletion: 20% deleted" in page.text("#fed")

    page.tab("Hide a patch")
    page.until(lambda: len(page.pictures("#canvas")) == 1)
    assert "+0.0000" in page.until(lambda: page.text("#moved"))
    page.find("#canvas img")[0].click()
    page.until(lambda: "1 patch hidden" in page.text("#moved"))
    box = tuple(map(int, page.until(lambda: page.query["hidden"]).split(",")))
    height, width = photo.pixels.shape[:2]
    assert abs((box[0] + box[2]) / 2 - width / 2) <= 2
    assert abs((box[1] + box[3]) / 2 - height / 2) <= 2
    moved = bench.hide(PageRequest(target=index, hidden=(box,)), photo)
    assert f"{moved.after:.4f}" in page.text("#moved")
    assert f"{moved.after - moved.before:+.4f}" in page.text("#moved")
    page.find("#restore")[0].click()
    page.until(lambda: "0 patches hidden" in page.text("#moved"))

    assert page.console() == []
    elsewhere = {
        url for url in page.asked() if not url.startswith((page.server, "data:", "blob:", "about:"))
    }
    assert elsewhere == set()


def test_files_can_be_taken_away_and_are_those_of_the_library(screen, bench, tmp_path):
    from urllib.request import urlopen

    page = screen("target=281&layer=blocks.3.0.bn1")
    page.tab("Files")
    page.until(lambda: page.find("#make")[0].is_displayed())
    page.find("#make")[0].click()
    page.until(lambda: len(page.find("#made a[download]")) == 4)
    found = {}
    for link in page.find("#made a[download]"):
        with urlopen(link.get_attribute("href")) as answer:
            found[link.get_attribute("download")] = answer.read()
    assert set(found) == {"overlay.png", "figure.png", "explanation.npz", "report.html"}
    (tmp_path / "arrays.npz").write_bytes(found["explanation.npz"])
    saved = camcore.load(tmp_path / "arrays.npz")
    shown = bench.explain(PageRequest(target=281, layer="blocks.3.0.bn1"), sample("chelsea"))
    np.testing.assert_array_equal(saved.maps, shown.explanation.maps)
    assert found["figure.png"].startswith(b"\x89PNG")
    (tmp_path / "overlay.png").write_bytes(found["overlay.png"])
    drawn = read_photo(tmp_path / "overlay.png").pixels.astype(int)
    assert np.abs(drawn - shown.explanation.overlay()[0]).max() <= 1
    assert b"Where demo-torch:efficientnet_lite0 looks" in found["report.html"]


def test_all_by_keys(screen, bench):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    page = screen()
    keys = ActionChains(page.browser)
    page.find("#classes button")[2].send_keys(Keys.ENTER)
    page.until(lambda: "target" in page.query)
    page.until(lambda: page.find("#classes button")[2].get_attribute("aria-pressed") == "true")
    # Whoever works with keys stays at the class, though the list is written anew.
    focused = page.browser.execute_script("return document.activeElement.dataset.class")
    assert focused == page.query["target"]

    layers = bench.model("").layers
    page.find("#layer input[type=range]")[0].send_keys(Keys.ARROW_LEFT)
    page.until(lambda: page.query.get("layer") == layers[-2].name)
    page.until(lambda: page.caption.endswith(f"at {layers[-2].name}"))
    assert layers[-2].label in page.text("#layer")

    page.find("#signed input")[0].send_keys(Keys.SPACE)
    page.until(lambda: page.query.get("signed") == "1")
    page.until(lambda: "blue counts against" in page.text("#picture"))
    page.find("#boxed input")[0].send_keys(Keys.SPACE)
    page.until(lambda: page.query.get("threshold") == "0.5")
    page.until(lambda: "reaches 50%" in page.text("#picture"))
    page.find("#threshold input[type=range]")[0].send_keys(Keys.ARROW_RIGHT * 2)
    page.until(lambda: "reaches 60%" in page.text("#picture"))

    page.choose("Method", "LayerCAM")
    page.until(lambda: page.query.get("method") == "layercam")
    page.choose("Recipe", "captum")
    page.until(lambda: page.query.get("recipe") == "captum")
    page.choose("and not", "· 282")
    page.until(lambda: page.query.get("against") == "282")
    page.until(lambda: "Contrast(" in page.text("#python .cm-content"))
    assert page.text("#shell .cm-content").startswith("# ")

    page.find('input[type=radio][value="coffee"]')[0].send_keys(Keys.SPACE)
    page.until(lambda: page.query.get("photo") == "coffee")
    assert "target" not in page.query

    # The arrows move from tab to tab, or the tabs are buttons that Tab reaches.
    tab = next(one for one in page.find("[role=tab]") if one.text == "Hide a patch")
    tab.send_keys(Keys.ENTER)
    page.until(lambda: page.find("#hide")[0].is_displayed())
    page.find("#across input[type=range]")[0].send_keys(Keys.HOME)
    page.find("#hide")[0].send_keys(Keys.ENTER)
    page.until(lambda: "1 patch hidden" in page.text("#moved"))
    assert page.until(lambda: page.query["hidden"]).startswith("0,")
    tab = next(one for one in page.find("[role=tab]") if one.text == "Deletion, insertion")
    tab.send_keys(Keys.ENTER)
    page.until(lambda: page.find("#trace")[0].is_displayed())
    page.find("#trace")[0].send_keys(Keys.ENTER)
    page.until(lambda: len(page.pictures("#fed")) == 2)
    page.find("#step input[type=range]")[0].send_keys(Keys.END)
    page.until(lambda: "100% deleted" in page.text("#fed"))
    keys.send_keys(Keys.TAB).perform()
    assert page.console() == []


def test_an_address_opens_what_was_on_the_page(screen, bench):
    onnx = "demo-onnx:efficientnet_lite0"
    layer = bench.model(onnx).layers[-2].name
    about = {"layer": layer, "method": "layercam", "signed": True, "threshold": 0.3}
    asked = PageRequest(model=onnx, photo="coffee", target=504, **about)
    page = screen(asked.query())
    page.until(lambda: page.caption.startswith("LayerCAM"))
    expected = bench.explain(asked, sample("coffee"))
    assert page.caption == f"LayerCAM for {expected.explained} at {asked.layer}"
    assert "reaches 30%" in page.text("#picture")
    assert "blue counts" in page.text("#picture")
    assert PageRequest.of_query(urlparse(page.browser.current_url).query) == asked
    assert page.pressed() == [class_name(expected.explanation.names, 504)]


def test_an_address_opens_its_tab_and_what_was_chosen_there(screen, bench):
    asked = PageRequest(photo="coffee", tab="methods", beside=("eigencam", "gradcam"))
    page = screen(asked.query())
    page.until(lambda: len(page.pictures("#methods")) == 2)
    assert [one.text for one in page.find("#methods figcaption")] == ["Eigen-CAM", "Grad-CAM"]
    assert PageRequest.of_query(urlparse(page.browser.current_url).query) == asked

    torch, onnx = bench.models
    layer = bench.model(torch).layers[0].name
    asked = PageRequest(model=onnx, photo="coffee", tab="compare", other=torch, other_layer=layer)
    page = screen(asked.query())
    page.until(lambda: len(page.pictures("#compared")) == 3)
    found = bench.compared(asked, sample("coffee"), torch, layer)
    assert f"{found.comparison.pairs[0].numbers(0)['largest']:.3g}" in page.text("#compared table")
    assert PageRequest.of_query(urlparse(page.browser.current_url).query) == asked
    page.tab("Layers")
    page.until(lambda: page.query.get("tab") == "layers")
    assert page.console() == []


def test_an_address_of_nonsense_opens_the_page(screen):
    page = screen(
        "model=none&photo=/etc/passwd&target=99999&layer=x&method=x&recipe=y&hidden=z"
        "&tab=x&other=x&other_layer=x&beside=x"
    )
    assert page.caption.startswith("Grad-CAM for ")
    page.until(lambda: page.query == {"photo": "chelsea"})
    assert page.console() == []


def test_photographs_of_ones_own_are_dropped_and_explained(screen, bench, cat, tmp_path):
    from PIL import Image

    deep = tmp_path / "deep.png"
    ramp = np.linspace(0, 4095, 300 * 400).reshape(300, 400).astype(np.uint16)
    Image.fromarray(ramp).save(deep)
    page = screen()
    page.find("input[type=file]")[0].send_keys(f"{deep}\n{cat}")
    page.until(lambda: page.query.get("photo") == cat.name)
    expected = bench.explain(PageRequest(), read_photo(cat))
    page.until(lambda: page.pressed() == [expected.explained])
    rows = [row.text.splitlines()[1] for row in page.find("#classes button")]
    assert rows == [f"{value:.1%}" for *_, value in expected.top]
    assert f'Photo.read("{cat.name}"' in page.text("#python .cm-content")
    page.find('input[type=radio][value="deep.png"]')[0].click()
    page.until(lambda: page.query.get("photo") == "deep.png")
    page.until(lambda: "deep.png" in page.text("#python .cm-content"))
    assert page.console() == []


def test_a_file_that_is_no_photograph_is_refused_in_words(screen, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"<script>alert(1)</script>")
    page = screen()
    page.find("input[type=file]")[0].send_keys(str(bad))
    page.until(lambda: page.find("#picture [role=alert]"))
    said = page.text("#picture [role=alert]")
    assert "bad.png" in said
    assert str(tmp_path.parent) not in said
    assert "gradio" not in said.lower()
    page.find('input[type=radio][value="rocket"]')[0].click()
    page.until(lambda: page.caption.startswith("Grad-CAM"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_scrolls_sideways(screen, scheme):
    page = screen("signed=1&threshold=0.5", width=360, height=740, scheme=scheme)
    script = (
        "const wide = [...document.querySelectorAll('body *')].filter(e => e.checkVisibility() && "
        "e.getBoundingClientRect().right > innerWidth + 1 && "
        "!e.closest('.cm-scroller, .tab-wrapper'));"
        "return [document.documentElement.scrollWidth, innerWidth, wide.map(e => e.outerHTML)]"
    )
    filled = {"Map": "#picture", "Layers": "#layers", "Two models": "#compared"}
    for name, place in {**filled, "Hide a patch": "#canvas"}.items():
        page.tab(name)
        page.until(lambda place=place: page.pictures(place))
        assert page.browser.execute_script(script) == [360, 360, []]
    page.find("#canvas img")[0].click()
    page.until(lambda: "1 patch hidden" in page.text("#moved"))
    dark = page.browser.execute_script("return document.body.classList.contains('dark')")
    assert dark == (scheme == "dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_what_is_behind_them(screen, scheme):
    page = screen(scheme=scheme)
    script = """
    const parse = (c) => c.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((v) => { v /= 255;
        return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; })
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (e) => { for (; e; e = e.parentElement) {
        const c = parse(getComputedStyle(e).backgroundColor);
        if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
    return [...document.querySelectorAll('.cam-head, .cam-name, .cam-value, .cam-note, figcaption')]
        .map((e) => { const a = light(parse(getComputedStyle(e).color)), b = light(behind(e));
            return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); });
    """
    contrasts = page.browser.execute_script(script)
    assert len(contrasts) > 10
    assert min(contrasts) >= 4.5


def test_what_can_be_worked_has_a_name(screen):
    """What is seen has a name that a screen reader says, and a picture says what it shows."""
    page = screen()
    nameless = page.browser.execute_script(
        """
        const named = (e) => e.getAttribute('aria-label') || e.getAttribute('aria-labelledby')
            || e.title || e.labels?.length || e.textContent.trim() || e.alt;
        return [...document.querySelectorAll('button, input, select, textarea, [role=tab], img')]
            .filter((e) => e.checkVisibility() && e.type !== 'file' && !named(e))
            .map((e) => e.outerHTML.slice(0, 200));
        """
    )
    assert nameless == []
    assert page.browser.execute_script("return document.documentElement.lang")
    alts = [alt for alt, _ in page.pictures("#picture")]
    assert "Strongest at the" in alts[0]
