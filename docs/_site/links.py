"""Lead links of pages to where the site has what they name in the repository."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any, Final

MOVED: Final = {
    "benchmarks/results": "benchmarks",
    "backends/README.md": "adapters.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Where the site has what lies outside of its folder."""

_ALTERNATE: Final = re.compile(r'<link rel="alternate"[^>]*>')
"""By what the theme looks for a site map, whose place is not known without an address."""

_LINK: Final = re.compile(r"(\[[^\]]*\])\(((?:\.\./)+)([^)#\s]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Rewrite the links of a page that leave the site's folder; others are left as text.

    Parameters
    ----------
    markdown : str
        The page.
    page : mkdocs.structure.pages.Page
        Where it stands.

    Returns
    -------
    str
    """
    here = PurePosixPath(page.file.src_uri).parent
    depth = len(here.parts)

    def led(found: re.Match[str]) -> str:
        text, up, path, anchor = found[1], found[2].count("../"), found[3], found[4] or ""
        if up <= depth:
            return found[0]
        for source, place in MOVED.items():
            if path == source or path.startswith(f"{source}/"):
                return f"{text}({'../' * depth}{place}{path.removeprefix(source)}{anchor})"
        return text[1:-1]  # a file of the repository, which the site does not have

    return _LINK.sub(led, markdown)


def on_post_page(output: str, **_: Any) -> str:
    """Take out what would make a page ask for a site map that is not there.

    Parameters
    ----------
    output : str
        The page, in HTML.

    Returns
    -------
    str
    """
    return _ALTERNATE.sub("", output)


def on_post_template(output_content: str, **_: Any) -> str:
    """Do the same to pages that are no page of the contents, such as the one of what is not there.

    Parameters
    ----------
    output_content : str
        The page, in HTML.

    Returns
    -------
    str
    """
    return _ALTERNATE.sub("", output_content)
