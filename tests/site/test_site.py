"""The site is built without a warning, and every page of it opens as it should, on a phone too."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from functools import partial
from html import escape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from camcore.methods.cards import CARDS
from camcore.methods.table import TABLE

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def site(tmp_path_factory, require):
    """The folder of the site, built as its page says."""
    for name in ("material", "mkdocstrings", "mkdocs_static_i18n", "latex2mathml", "nbconvert"):
        require(name)
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture(scope="session")
def pages(site):
    every = sorted(str(path.relative_to(site)) for path in site.rglob("*.html"))
    translated = {f"zh-TW/{name}.html" for name in ("start", "tutorials/xception")}
    return [page for page in every if not page.startswith("zh-TW") or page in translated]


@pytest.fixture(scope="session")
def address(site):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def test_every_method_has_a_card_with_its_formula_and_its_paper(site):
    for method in TABLE:
        card = (site / "methods" / f"{method.name}.html").read_text("utf-8")
        assert f"<title>{method.label} - camcore" in card
        assert "<math" in card
        reference = CARDS[method.name].reference
        assert reference is None or escape(method.paper, quote=False) in card


def test_every_public_name_is_in_the_reference(site):
    import camcore

    text = "".join(path.read_text("utf-8") for path in (site / "api").glob("*.html"))
    modules = {
        name for name in camcore.__all__ if (site / "api" / f"camcore.{name}.html").is_file()
    }
    assert len(modules) >= 18
    assert [
        n for n in camcore.__all__ if n not in modules and f'id="camcore.{n}"' not in text
    ] == []


def test_every_command_is_in_the_command_line(site):
    import typer

    from camcore.cli.app import app

    text = (site / "command_line.html").read_text("utf-8")
    names = typer.main.get_command(app).commands
    assert len(names) >= 10
    assert [name for name in names if f'id="camcore-{name}"' not in text] == []


def test_what_is_translated_says_the_same_calls(site):
    pages = sorted((ROOT / "docs").rglob("*.zh-TW.md"))
    assert len(pages) >= 3
    for page in pages:
        calls = []
        for text in (page, page.with_name(page.name.replace(".zh-TW", ""))):
            blocks = re.findall(r"```python\n(.*?)```", text.read_text("utf-8"), re.DOTALL)
            calls.append([re.sub(r"\s*#.*", "", line) for b in blocks for line in b.splitlines()])
        assert calls[0] == calls[1], page
        built = page.relative_to(ROOT / "docs").with_suffix("").with_suffix(".html")
        heading = page.read_text("utf-8").splitlines()[0].removeprefix("# ")
        assert f">{heading}<" in (site / "zh-TW" / built).read_text("utf-8")


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (800, "dark"), (1280, "light")])
def test_pages_open_without_an_error_or_a_request_outside(chromium, address, pages, width, scheme):
    assert len(pages) > 120
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    chromium.get("about:blank")
    for kind in ("browser", "performance"):
        chromium.get_log(kind)
    wrong = []
    for page in pages if width == 360 else pages[:: len(pages) // 12]:
        chromium.get(address + page)
        wide = chromium.execute_script("return document.documentElement.scrollWidth")
        if wide > width:
            wrong.append((page, f"{wide} pixels wide"))
        missing = chromium.execute_script(
            "return [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
        )
        wrong += [(page, picture) for picture in missing]
        wrong += [(page, line["message"]) for line in chromium.get_log("browser")]
        for line in chromium.get_log("performance"):
            message = json.loads(line["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                if not url.startswith((address, "data:", "blob:", "about:")):
                    wrong.append((page, url))
    assert wrong == []


def test_words_are_found(chromium, address):
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    chromium.get(f"{address}index.html?q=hirescam")
    from selenium.webdriver.support.ui import WebDriverWait

    found = "return [...document.querySelectorAll('.md-search-result__link')].map(a => a.href)"
    links = WebDriverWait(chromium, 60).until(lambda page: page.execute_script(found))
    assert any(link.partition("?")[0].endswith("methods/hirescam.html") for link in links)
