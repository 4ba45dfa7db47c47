"""A report in a real Chromium, worked by pointer and by keys."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import camcore
from camcore.report import Entry
from camcore.testing import random_network


@pytest.fixture
def browser(chromium, page):
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    chromium.get("about:blank")
    for kind in ("browser", "performance"):
        chromium.get_log(kind)
    chromium.get(page.as_uri())
    return chromium


@pytest.fixture
def find(browser):
    from selenium.webdriver.common.by import By

    return lambda selector: browser.find_elements(By.CSS_SELECTOR, selector)


def shown(find, selector=".cell"):
    return [one for one in find(selector) if one.is_displayed()]


def pixels(data):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), float)


def clip(browser, picture):
    return browser.execute_script(
        "return getComputedStyle(arguments[0].querySelector('img')).clipPath", picture
    )


def test_page_fetches_nothing_and_logs_nothing(browser, find, page):
    browser.execute_script("document.querySelector('#all').click()")
    assert browser.get_log("browser") == []
    log = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {
        entry["params"]["request"]["url"]
        for entry in log
        if entry["method"] == "Network.requestWillBeSent"
    }
    assert {url for url in asked if not url.startswith("data:")} == {page.as_uri()}
    assert all(
        browser.execute_script("return arguments[0].naturalWidth", image) > 0
        for image in find("main img")
    )


def test_its_own_policy_forbids_to_fetch(browser):
    blocked = browser.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "addEventListener('securitypolicyviolation', (e) => done(e.effectiveDirective));"
        "new Image().src = 'http://127.0.0.1:9/x.png';"
    )
    assert blocked == "img-src"


def test_keys_move_the_slider_and_the_overlay_follows(browser, find):
    from selenium.webdriver.common.keys import Keys

    slider, picture = find(".slider")[1], find(".picture")[1]
    assert clip(browser, picture) == "inset(0px 0% 0px 0px)"
    slider.send_keys(Keys.ARROW_LEFT * 5)
    assert slider.get_attribute("value") == "95"
    assert slider.get_attribute("aria-valuetext") == "95 percent overlay"
    assert clip(browser, picture) == "inset(0px 5% 0px 0px)"
    slider.send_keys(Keys.HOME)
    assert clip(browser, picture) == "inset(0px 100% 0px 0px)"
    assert clip(browser, find(".picture")[0]) == "inset(0px 0% 0px 0px)"


def test_half_way_one_half_is_the_overlay_and_the_other_the_photograph(browser, find, photos):
    from selenium.webdriver.common.keys import Keys

    slider, picture = find(".slider")[0], find(".picture")[0]
    screens = {}
    for value in (100, 0, 50):
        slider.send_keys(Keys.END if value == 100 else Keys.HOME)
        slider.send_keys(Keys.ARROW_RIGHT * (value % 100))
        screens[value] = pixels(picture.screenshot_as_png)
    middle = screens[0].shape[1] // 2
    left, right = np.s_[:, 4 : middle - 4], np.s_[:, middle + 4 : -4]
    assert np.abs(screens[50][left] - screens[100][left]).max() < 2
    assert np.abs(screens[50][right] - screens[0][right]).max() < 2
    assert np.abs(screens[100] - screens[0]).mean() > 10
    # Without the overlay it is the photograph, whatever its size on the screen.
    corner = photos[0][2, 2].astype(float)
    assert np.abs(screens[0][8, 8] - corner).max() < 12
    source = find(".picture img")[0].get_attribute("src")
    overlaid = pixels(base64.b64decode(source.partition(",")[2]))
    assert np.abs(screens[100].mean(axis=(0, 1)) - overlaid.mean(axis=(0, 1))).max() < 4


def test_a_pointer_on_the_picture_moves_the_overlay(browser, find):
    from selenium.webdriver import ActionChains

    picture, slider = find(".picture")[0], find(".slider")[0]
    quarter = round(picture.size["width"] / 4)
    ActionChains(browser).move_to_element(picture).click_and_hold().perform()
    assert slider.get_attribute("value") == "50"
    ActionChains(browser).move_by_offset(quarter, 0).release().perform()
    assert abs(int(slider.get_attribute("value")) - 75) <= 1
    ActionChains(browser).move_by_offset(-quarter, 0).perform()
    assert abs(int(slider.get_attribute("value")) - 75) <= 1


def test_fading_and_moving_all_at_once(browser, find):
    from selenium.webdriver.common.keys import Keys

    find("input[value=fade]")[0].click()
    find("#all")[0].send_keys(Keys.HOME + Keys.ARROW_RIGHT * 30)
    script = "return [...document.querySelectorAll('.picture img')].map(i => getComputedStyle(i))"
    styles = browser.execute_script(f"{script}.map(s => [s.opacity, s.clipPath])")
    assert styles == [["0.3", "none"]] * 16


def test_filters_hide_cells_and_photographs(find):
    from selenium.webdriver.common.keys import Keys

    status = find("#status")[0]
    assert len(shown(find)) == 16
    find("fieldset[data-axis=method] input")[1].click()
    assert {cell.get_attribute("data-method") for cell in shown(find)} == {"Grad-CAM"}
    assert status.text == "8 of 16 maps shown"
    find("fieldset[data-axis=model] input")[0].send_keys(Keys.SPACE)
    assert {cell.get_attribute("data-model") for cell in shown(find)} == {'second <b title="x">'}
    find("#find")[0].send_keys("DUNES")
    assert [one.get_attribute("data-name") for one in shown(find, ".photo")] == [
        "dunes 10.jpg",
        "dunes 9.jpg",
    ]
    assert status.text == "2 of 16 maps shown"
    find("fieldset[data-axis=model] input")[1].click()
    assert shown(find, ".photo") == []
    assert status.text == "0 of 16 maps shown"


def test_photographs_can_be_ordered(browser, find):
    from selenium.webdriver.support.select import Select

    def order(by, fact):
        Select(find("#order")[0]).select_by_value(by)
        return [one.get_attribute(f"data-{fact}") for one in find(".photo")]

    gaps = [float(gap) for gap in order("apart", "apart")]
    assert gaps == sorted(gaps, reverse=True)
    assert len(set(gaps)) > 1
    assert order("name", "name") == ["beach.jpg", "Cat & dog.png", "dunes 9.jpg", "dunes 10.jpg"]
    assert order("given", "index") == ["0", "1", "2", "3"]
    shares = [float(share) for share in order("probability", "probability")]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] < 1
    classes = order("class", "class")
    assert classes == sorted(classes)


def test_photographs_are_found_by_their_class(find):
    explained = [one.get_attribute("data-class") for one in find(".photo")]
    find("#find")[0].send_keys(explained[0])
    found = [one.get_attribute("data-class") for one in shown(find, ".photo")]
    assert found == [one for one in explained if explained[0] in one]


def dialog(find):
    (large,) = find("#large")
    return large if large.get_attribute("open") else None


@pytest.mark.parametrize("key", ["ENTER", "SPACE"])
def test_a_picture_is_enlarged_by_a_key_and_escape_gives_the_focus_back(browser, find, key):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    picture = find(".picture")[1]
    picture.send_keys(getattr(Keys, key))
    large = dialog(find)
    width = picture.size["width"]
    assert all(view.size["width"] > width for view in find("#large img"))
    assert large.accessible_name == "beach.jpg"
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    assert dialog(find) is None
    assert browser.switch_to.active_element == picture


def test_a_click_enlarges_a_picture_and_leaves_its_overlay_where_it_was(browser, find):
    slider, picture = find(".slider")[2], find(".picture")[2]
    picture.click()
    assert dialog(find) is not None
    assert slider.get_attribute("value") == "100"
    find("#close")[0].click()
    assert dialog(find) is None
    assert browser.switch_to.active_element == picture


def test_photograph_map_and_overlay_are_shown_and_can_be_kept(browser, find, photos):
    find(".picture")[0].click()
    views = dict(zip(("photograph", "map", "overlay"), find("#large figure"), strict=True))
    assert [one.text.split()[0] for one in views.values()] == ["Photograph", "Map", "Overlay"]
    kept = {}
    for kind, view in views.items():
        (image,), (link,) = (view.find_elements("css selector", tag) for tag in ("img", "a"))
        assert link.get_attribute("href") == image.get_attribute("src")
        assert link.get_attribute("download") == f"beach-first-Grad-CAM-paper-{kind}.jpg"
        assert image.accessible_name.startswith(f"{kind}: beach.jpg")
        kept[kind] = pixels(base64.b64decode(link.get_attribute("href").partition(",")[2]))
    assert np.abs(kept["photograph"] - photos[0]).mean() < 3
    (first,) = find(".picture img")[:1]
    assert first.get_attribute("src").endswith(
        find("#large a")[2].get_attribute("href").rpartition(",")[2]
    )
    assert np.abs(kept["map"] - kept["photograph"]).mean() > 20


def test_five_methods_stand_in_one_row_on_a_desktop(browser, photos, explanations, tmp_path):
    one = explanations["first"]["gradcam"]
    entries = [Entry(replace(one, method=f"method {i}")) for i in range(5)]
    page = camcore.report.write(tmp_path / "r.html", photos, entries)
    browser.get(page.as_uri())
    cells = browser.find_elements("css selector", "#photo-0 .cell")
    assert len({cell.rect["y"] for cell in cells}) == 1
    assert len({cell.rect["x"] for cell in cells}) == 5
    last = cells[-1].rect
    assert last["x"] + last["width"] <= 1280


def test_photographs_of_a_folder_stand_side_by_side(browser, photos, explanations, tmp_path):
    page = camcore.report.write(tmp_path / "r.html", photos, explanations["first"]["gradcam"])
    browser.get(page.as_uri())
    places = [one.rect for one in browser.find_elements("css selector", ".photo")]
    assert len({place["x"] for place in places}) > 2
    assert browser.get_log("browser") == []


def test_a_link_to_a_photograph_that_is_filtered_out_shows_it(browser, find):
    find("#find")[0].send_keys("nothing")
    assert shown(find) == []
    link = find("#agreement ~ .scroll a")[0]
    link.click()
    wanted = link.get_attribute("href").partition("#")[2]
    assert find(f"#{wanted}")[0].is_displayed()


def test_page_can_be_read_aloud(browser, find):
    assert find("html")[0].get_attribute("lang") == "en"
    assert browser.title == "Two & networks"
    levels = [int(one.tag_name[1]) for one in find("h1, h2, h3, h4, h5, h6")]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for summary in find("summary"):
        summary.click()
    told = shown(find, "input, select, button, summary, .colours img, [tabindex]")
    assert len(told) > 50
    assert all(one.accessible_name for one in told)
    names = [one.accessible_name for one in find(".slider, .picture")]
    assert len(set(names)) == len(names) == 32
    assert "Cat & dog.png" in names[8]
    assert names[0].startswith("Enlarge: beach.jpg with its map of class ")
    for table in find("table"):
        assert browser.execute_script(
            "return [...arguments[0].querySelectorAll('th')].every(cell => cell.scope)", table
        )
    assert find("#status")[0].aria_role == "status"


def test_keys_alone_reach_everything_and_the_focus_is_seen(browser, find):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    reached = []
    for _ in range(200):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        here = browser.switch_to.active_element
        if here.tag_name == "body":
            break
        outline = here.value_of_css_property("outline-style")
        assert outline not in ("none", "hidden"), here.get_attribute("outerHTML")[:200]
        reached.append(here)
    assert reached[0].get_attribute("class") == "skip"
    reachable = [
        one
        for one in find("a, input, select, button, summary, [tabindex='0']")
        if one.is_displayed() and one.get_attribute("value") != "fade"  # Arrow keys reach it.
    ]
    assert set(reachable) <= set(reached)


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_every_width_in_both_schemes(browser, find, width, scheme):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    for selector in ("h1", ".note, figcaption .model", ".bad", "thead th", "summary", "a[href]"):
        assert contrast(browser, find(selector)[0]) >= 4.5, selector
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def contrast(browser, element):
    """How far an element's ink stands out from the page, as WCAG 2 measures it."""
    script = "return [getComputedStyle(arguments[0]).color, getComputedStyle(document.body)"
    colours = browser.execute_script(f"{script}.backgroundColor]", element)
    light = []
    for colour in colours:
        rgb = np.array([float(x) for x in colour[colour.index("(") + 1 : -1].split(",")[:3]]) / 255
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        light.append(linear @ [0.2126, 0.7152, 0.0722] + 0.05)
    return max(light) / min(light)


def test_without_scripts_every_overlay_is_there_and_no_dead_control(browser, find, page):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(page.as_uri())
        assert not find(".controls")[0].is_displayed()
        assert shown(find, ".slider, button") == []
        assert len(shown(find, ".picture img")) == 16
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_the_call_can_be_copied(browser, find):
    find("#copy")[0].click()
    assert find("#call")[0].text == "camcore compare 'a b' <c>"
    browser.execute_async_script("setTimeout(arguments[arguments.length - 1], 200)")
    assert find("#copied")[0].text in ("Copied.", "Selected; press Ctrl+C to copy.")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Reports of two volumes and of two electrocardiograms."""
    rng = np.random.default_rng(0)
    given = {"volume": rng.random((2, 6, 9, 8)), "signal": rng.normal(size=(2, 12, 90))}
    options = {"signal": {"rate": 30, "channels": [f"lead {i}" for i in range(12)]}}
    pages = {}
    for kind, samples in given.items():
        rank = 3 if kind == "volume" else 1
        inputs = rng.normal(size=(2, 2, *[8] * rank))
        found = camcore.explain(random_network(rank), inputs, method=list(METHODS))
        path = tmp_path_factory.mktemp("drawn") / f"{kind}.html"
        pages[kind] = camcore.report.write(path, samples, found, **options.get(kind, {}))
    return pages


METHODS = ("gradcam", "layercam")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("kind", ["volume", "signal"])
def test_drawings_fit_every_width_and_are_enlarged(browser, find, drawn, kind, width, scheme):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    browser.get(drawn[kind].as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    cells = shown(find)
    assert len(cells) == 4
    # A row for each method, as wide as the page allows.
    assert len({cell.rect["x"] for cell in cells}) == 1
    assert cells[0].rect["width"] == pytest.approx(min(704, width - 24), abs=2)
    for selector in ("h1", "figcaption", ".note"):
        assert contrast(browser, find(selector)[0]) >= 4.5, selector
    find(".picture")[1].send_keys(Keys.ENTER)
    assert dialog(find) is not None
    views = find("#large figure")
    assert [one.text.split()[0] for one in views] == [kind.capitalize(), "Map", "Overlay"]
    ending = {"volume": "jpg", "signal": "png"}[kind]
    names = [link.get_attribute("download") for link in find("#large a")]
    assert names == [f"{kind}-1-LayerCAM-paper-{one}.{ending}" for one in (kind, "map", "overlay")]
    picture = find(".picture")[1].size["width"]
    assert all(image.size["width"] > picture for image in find("#large img"))
    # What is wider than the screen is scrolled by itself.
    script = "const large = document.querySelector('#large'); return large."
    sides = [browser.execute_script(f"{script}{side}Width") for side in ("scroll", "client")]
    assert sides[0] <= sides[1]
    assert find("#large img")[0].accessible_name == f"{kind}: {kind} 1"
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    assert browser.get_log("browser") == []
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.parametrize("kind", ["volume", "signal"])
def test_a_drawing_without_its_overlay_is_the_sample_alone(browser, find, drawn, kind):
    from selenium.webdriver.common.keys import Keys

    browser.get(drawn[kind].as_uri())
    slider, picture = find(".slider")[0], find(".picture")[0]
    screens = []
    for key in (Keys.HOME, Keys.END):
        slider.send_keys(key)
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", picture)
        # Inside of the ring around the slider that is in use.
        screens.append(pixels(picture.screenshot_as_png)[8:-8, 8:-8])
    bare, over = screens
    assert np.ptp(bare, axis=-1).max() < 25  # grey, but for what JPEG adds
    assert np.ptp(over, axis=-1).max() > 100


@pytest.fixture
def metrics_tab(browser, find, evaluated_page):
    browser.get(evaluated_page.as_uri())
    browser.get_log("browser")
    find("#tab-metrics")[0].click()
    return browser


def frame(browser, find, place=0):
    """The picture of a photograph that is seen, as it is drawn."""
    one = find(".fed .frame")[place]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", one)
    return pixels(one.screenshot_as_png)


def test_tabs_are_worked_by_pointer_keys_and_links(browser, find, evaluated_page):
    from selenium.webdriver.common.keys import Keys

    browser.get(evaluated_page.as_uri())
    tabs, parts = find("[role=tab]"), find("[role=tabpanel]")
    assert [tab.text for tab in tabs] == ["Maps", "Metrics"]
    state = lambda: [part.is_displayed() for part in parts]  # noqa: E731
    assert state() == [True, False]
    assert parts[0].accessible_name == "Maps"
    tabs[1].click()
    assert state() == [False, True]
    assert parts[1].accessible_name == "Metrics"
    tabs[1].send_keys(Keys.ARROW_LEFT)
    assert state() == [True, False]
    assert browser.switch_to.active_element == tabs[0]
    tabs[0].send_keys(Keys.ARROW_LEFT)  # around the end
    assert state() == [False, True]
    tabs[1].send_keys(Keys.HOME)
    assert state() == [True, False]
    tabs[0].send_keys(Keys.END)
    assert [tab.get_attribute("aria-selected") for tab in tabs] == ["false", "true"]
    assert [tab.get_attribute("tabindex") for tab in tabs] == ["-1", "0"]
    # The name of a photograph leads to its maps, and the way to the maps is open from anywhere.
    find(".fed h3 a")[1].click()
    assert state() == [True, False]
    browser.get("about:blank")
    browser.get(f"{evaluated_page.as_uri()}#metrics")
    assert find("#part-metrics")[0].is_displayed()
    find(".skip")[0].send_keys(Keys.ENTER)
    assert find("#part-maps")[0].is_displayed()
    assert browser.get_log("browser") == []


def test_slider_shows_what_was_fed_and_where_that_is_on_the_curve(metrics_tab, find, evaluation):
    from selenium.webdriver.common.keys import Keys

    browser, slider = metrics_tab, find(".fed .at")[0]
    caption = lambda: find(".fed .viewer figcaption")[0].text  # noqa: E731
    curve = evaluation.curves["gradcam"]["deletion"]
    slider.send_keys(Keys.HOME)
    assert caption() == f"0 % deleted: probability {curve.scores[0, 0]:.3g}"
    whole = frame(browser, find)
    slider.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    shown_score = float(caption().rpartition(" ")[2])
    assert caption().startswith("20 % deleted")
    assert shown_score == pytest.approx(curve.scores[0, 4], rel=5e-3)
    assert slider.get_attribute("aria-valuetext") == caption()
    part = frame(browser, find)
    altered = np.abs(part - whole).max(axis=-1) > 30
    assert 0.05 < altered.mean() < 0.25
    slider.send_keys(Keys.END)
    assert caption().startswith("100 % deleted")
    grey = frame(browser, find)
    assert np.abs(grey[4:-4, 4:-4] - 127.5).max() < 12
    # The marker stands at the fraction, in the chart of the curve alone.
    marks = [
        one for one in find(".fed .here") if one.value_of_css_property("visibility") != "hidden"
    ]
    assert len(marks) == len(evaluation.kept)
    assert float(marks[0].get_attribute("x1")) == pytest.approx(292)
    alt = find(".fed .frame img")[0].get_attribute("alt")
    assert alt == "beach.jpg, 100 % deleted by Grad-CAM"


def test_method_curve_and_share_are_chosen_for_all_photographs(metrics_tab, find, evaluation):
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select

    Select(find("#feed-row")[0]).select_by_visible_text("LayerCAM")
    Select(find("#feed-curve")[0]).select_by_visible_text("ROAD, least relevant first")
    find("#feed-all")[0].send_keys(Keys.END)
    curve = evaluation.curves["layercam"]["road_least"]
    for place, one in enumerate(find(".fed .viewer figcaption")):
        assert one.text.startswith("90 % removed: probability ")
        score = float(one.text.rpartition(" ")[2])
        assert score == pytest.approx(curve.scores[place, -1], rel=5e-3)
        assert find(".fed .at")[place].get_attribute("max") == "8"
    chosen = [one.text for one in find(".fed .chart.chosen figcaption")]
    assert chosen == ["ROAD, least relevant first"] * len(evaluation.kept)
    # Another curve keeps the place along it.
    Select(find("#feed-curve")[0]).select_by_visible_text("insertion")
    assert all(one.text.startswith("100 % ins") for one in find(".fed .viewer figcaption"))
    seen = frame(metrics_tab, find)
    assert np.ptp(seen.reshape(-1, 3), axis=0).min() > 100  # all of the photograph is put in


def test_metrics_without_scripts_are_all_there(browser, find, evaluated_page):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(evaluated_page.as_uri())
        assert shown(find, ".tabs, .controls, .viewer, .at, .slider, button") == []
        assert len(shown(find, ".strip img")) == 3 * 2 * 4
        assert len(shown(find, "#values, #maps")) == 2
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize("width", [320, 360, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_metrics_fit_every_width_in_both_schemes(browser, find, evaluated_page, width, scheme):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    browser.get(evaluated_page.as_uri())
    find("#tab-metrics")[0].click()
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    for selector in ("[role=tab]", "tr.model th", ".legend .number", ".viewer figcaption"):
        assert contrast(browser, find(selector)[0]) >= 4.5, selector
    for look in ("c0", "c1", "d0"):  # lines have to be seen, if not read
        assert contrast(browser, find(f"polyline.{look}")[0]) >= 3, look
    log = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {
        entry["params"]["request"]["url"]
        for entry in log
        if entry["method"] == "Network.requestWillBeSent"
    }
    asked = {url for url in asked if not url.startswith(("data:", "about:"))}
    assert {url.rpartition("/")[2] for url in asked} == {"report.html"}
    assert browser.get_log("browser") == []
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
