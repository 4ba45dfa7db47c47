"""Reports: one HTML file with explanations of photographs, volumes or signals, and their call.

It needs nothing but a browser: pictures, styles and script lie inside it, and its own
content policy forbids it to fetch anything.
"""

from camcore.report.entries import AXES, ComparedPair, Entry, compare_entries
from camcore.report.render import html, write

__all__ = ["AXES", "ComparedPair", "Entry", "compare_entries", "html", "write"]
