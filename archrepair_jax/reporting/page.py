"""report.html: the report's words and figures as one self-contained page, for a phone or a screen, light or dark."""

import base64
import html
from collections.abc import Mapping

from markdown_it import MarkdownIt

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #ffffff; --quiet: #5c5c5c; --rule: #d8d8d8; --lit: #eef4fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececec; --paper: #16181b; --quiet: #a8a8a8; --rule: #3a3d42; --lit: #1f2a36; }
}
body { margin: 0 auto; padding: 1rem; max-width: 62rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; }
h2 { font-size: 1.2rem; margin-top: 2.2rem; padding-top: .6rem; border-top: 1px solid var(--rule); }
h1 + p { padding: .8rem 1rem; border-radius: .5rem; background: var(--lit); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--rule); white-space: nowrap; }
thead th { color: var(--quiet); font-weight: 600; }
img { max-width: 100%; height: auto; padding: .5rem; border-radius: .5rem; background: #ffffff;
  box-sizing: border-box; }
pre { overflow-x: auto; padding: .8rem; border-radius: .5rem; background: var(--lit); }
"""
FRAME = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<main>
{body}</main>
</body>
</html>
"""
SCROLLED = '<div class="wide" role="region" aria-label="table" tabindex="0">\n'


def page(text: str, figures: Mapping[str, bytes]) -> str:
    """A report as HTML that needs no other file.

    Args:
        text: the report as Markdown; its first line is the title.
        figures: PNG bytes by name, as ``figures/NAME.png`` in the text.
    """
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    markdown.add_render_rule("table_open", lambda *_: f"{SCROLLED}<table>\n")
    markdown.add_render_rule("table_close", lambda *_: "</table>\n</div>\n")
    body = markdown.render(text)
    for name, png in figures.items():
        body = body.replace(f"figures/{name}.png", f"data:image/png;base64,{base64.b64encode(png).decode()}")
    title = text.splitlines()[0].lstrip("# ")
    return FRAME.format(title=html.escape(title), style=STYLE, body=body)
