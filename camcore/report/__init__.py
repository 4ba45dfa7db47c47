"""One HTML file that shows explanations of photographs, and how to make them again.

It needs nothing but a browser: pictures, styles and script lie inside it, and its own
content policy forbids it to fetch anything.
"""

from camcore.report.entries import AXES, Entry, Held, hold
from camcore.report.render import html, write

__all__ = ["AXES", "Entry", "Held", "hold", "html", "write"]
