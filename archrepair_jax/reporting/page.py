"""report.html: the report's words and figures as one self-contained page, for a phone or a screen, light or dark."""

import base64
import html
import itertools
import re
from collections.abc import Mapping, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

from archrepair_jax.reporting import palette

LIGHT, DARK = (
    " ".join(f"--{name}: {color};" for name, color in each.items()) for each in (palette.LIGHT, palette.DARK)
)
STYLE = f":root {{ color-scheme: light dark; {LIGHT} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {DARK} }} }}"
STYLE += """
body { margin: 0 auto; padding: 1rem; max-width: 62rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; }
h2 { font-size: 1.2rem; margin-top: 2.2rem; padding-top: .6rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 1.6rem 0 .6rem; }
h1 + p { padding: .8rem 1rem; border-radius: .5rem; background: var(--lit); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--rule); vertical-align: top; }
thead th { color: var(--quiet); font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child { position: sticky; left: 0; min-width: 5rem; background: var(--paper); }
img { max-width: 100%; height: auto; padding: .5rem; border-radius: .5rem; background: #ffffff;
  box-sizing: border-box; }
.wide > img { min-width: 36rem; }
ul:has(> li > img) { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 1rem; padding: 0;
  list-style: none; font-size: .9rem; line-height: 1.35; }
li > img { display: block; width: 6rem; padding: 0; margin-bottom: .3rem; image-rendering: pixelated; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; padding: .8rem; border-radius: .5rem; background: var(--lit); }
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
SCROLLED = '<div class="wide" role="region" aria-label="{}" tabindex="0">\n<table>\n'
TOGETHER = re.compile(r" %|\[[^\]]*\]")  # a number with its unit, and an interval, in a cell that is broken into lines


def page(text: str, figures: Mapping[str, bytes]) -> str:
    """A report as HTML that needs no other file.

    Args:
        text: the report as Markdown; its first line is the title.
        figures: PNG bytes by name, as ``figures/NAME.png`` in the text.
    """
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    markdown.add_render_rule("table_open", lambda _, tokens, place, *rest: SCROLLED.format(tokens[place].meta["name"]))
    markdown.add_render_rule("table_close", lambda *_: "</table>\n</div>\n")
    body = markdown.renderer.render(_described(markdown.parse(text)), markdown.options, {})
    for name, png in figures.items():
        body = body.replace(f"figures/{name}.png", f"data:image/png;base64,{base64.b64encode(png).decode()}")
    title = text.splitlines()[0].lstrip("# ")
    return FRAME.format(title=html.escape(title), style=STYLE, body=body)


def _described(tokens: Sequence[Token]) -> Sequence[Token]:
    """With what a screen reader and keys ask for: names of what scrolls, and what a table's head is the head of."""
    section = ""
    for token, following in itertools.pairwise(tokens):
        if token.type == "heading_open":
            section = html.escape(following.content)
        elif token.type == "table_open":
            token.meta["name"] = f"table: {section}"
        elif token.type == "th_open":
            token.attrSet("scope", "col")
        elif token.type == "td_open":
            for child in following.children:
                child.content = TOGETHER.sub(lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), child.content)
        elif token.type == "paragraph_open" and [child.type for child in following.children] == ["image"]:
            name = f"figure: {following.children[0].content}"
            token.attrs |= {"class": "wide", "role": "region", "aria-label": name, "tabindex": "0"}
    return tokens
