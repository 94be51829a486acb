"""report.html as a reader meets it: one file, the numbers of the report, in a real browser where there is one."""

import base64
import html
import itertools
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from archrepair_jax.reporting.page import page
from archrepair_jax.reporting.palette import DARK, LIGHT
from archrepair_jax.reporting.report import write
from archrepair_jax.reporting.summary import summary

# What a reader of the page, or of its sounds, would stumble over: the rules of axe-core that can matter here.
PROBE = """
addEventListener('load', () => {
  const all = query => [...document.querySelectorAll(query)], regions = all('[role=region]');
  const levels = all('h1, h2, h3, h4').map(heading => +heading.tagName[1]);
  const rules = {
    'no language': () => !document.documentElement.lang,
    'no title': () => !document.title.trim(),
    'no main': () => all('main').length != 1,
    'an image without words': () => all('img').some(image => !image.alt.trim()),
    'an image that does not load': () => all('img').some(image => !image.naturalWidth),
    'not one title': () => all('h1').length != 1 || levels[0] != 1,
    'a level left out': () => levels.some((level, place) => place && level > levels[place - 1] + 1),
    'a heading without words': () => all('h1, h2, h3, h4').some(heading => !heading.innerText.trim()),
    'a head of nothing': () => all('th').some(head => head.scope != 'col'),
    'a table without a name': () => all('table').some(table => !table.parentElement.ariaLabel),
    'two regions of one name': () => new Set(regions.map(region => region.ariaLabel)).size != regions.length,
    'what scrolls is out of reach of keys': () => all('.wide').some(box => box.tabIndex != 0),
  };
  parent.postMessage(JSON.stringify({
    whole: document.documentElement.scrollWidth, window: innerWidth, loaded: all('img').length,
    cut: all('.wide').filter(box => box.scrollWidth > box.clientWidth).map(box => box.ariaLabel),
    columns: getComputedStyle(all('ul:has(img)')[0]).gridTemplateColumns.split(' ').length,
    findings: Object.keys(rules).filter(rule => rules[rule]()),
  }), '*');
});
"""
FRAME = """<!DOCTYPE html><title>nothing</title>
<script>addEventListener('message', event => {{ document.title = event.data }})</script>
<iframe src="probed.html" width="{width}" height="900" style="border: 0"></iframe>
"""
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture
def written(looked_through, tmp_path):
    write(tmp_path, looked_through, np.random.default_rng(0).integers(0, 256, (18, 32, 32, 3), np.uint8))
    return tmp_path


def words(markup: str) -> list[str]:
    """What a reader reads, without spaces and tags."""
    body = re.sub(r"<(style|title)>.*?</\1>", "", markup, flags=re.S)
    return html.unescape(re.sub(r"<[^>]*>", " ", body)).split()


@pytest.mark.slow
def test_the_page_needs_no_other_file_and_is_small(written):
    text = (written / "report.html").read_text()
    assert len(text) < 3_000_000
    sources = re.findall(r"(?:src|href)=\"(.*?)\"", text)
    assert sources and all(source.startswith("data:") for source in sources)
    figures = {file.read_bytes() for file in written.glob("figures/*.png")}
    shown = {base64.b64decode(source.split(",")[1]) for source in sources if source.startswith("data:image/png")}
    assert shown == figures
    assert all(re.search(r'alt="[^"]+"', image) for image in re.findall(r"<img [^>]*>", text))


@pytest.mark.slow
def test_the_page_has_the_numbers_of_the_report(written):
    report = json.loads((written / "report.json").read_text())
    read = " ".join(words((written / "report.html").read_text()))
    assert report["outcome_line"] in read and summary(report) in read
    shown = report["gallery"]["repaired"]["shown"] + report["gallery"]["broken"]["shown"] + report["in_front"]["shown"]
    for example in shown:
        assert f"{100 * example['before']['confidence']:.1f} %) before" in read
    for arm in report["arms"]:
        if arm["measures"]:
            assert f"{100 * arm['measures']['clean']['accuracy']:.2f} %" in read


def test_what_names_hold_is_shown_and_not_run():
    text = page("# A <b>bold</b> name\n\n<script>alert(1)</script>\n\n| a | b |\n|:--|--:|\n| <i> | 1 |\n", {})
    assert "<script" not in text and "<b>" not in text and "<i>" not in text
    assert "&lt;script&gt;" in text and "<title>A &lt;b&gt;bold&lt;/b&gt; name</title>" in text


def luminance(color):
    """WCAG 2's relative luminance of ``#rrggbb``."""
    parts = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("ink", "ground"), [*itertools.product(("ink", "quiet"), ("paper", "lit"))])
def test_text_stands_out_by_day_and_by_night(colors, ink, ground):
    dark, light = sorted(luminance(colors[name]) for name in (ink, ground))
    assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2, level AA
    assert f"--{ink}: {colors[ink]};" in page("# A title\n", {})


@pytest.mark.slow
@pytest.mark.skipif(not BROWSER, reason="there is no chromium: install it, in Debian by its package")
@pytest.mark.parametrize("width", [390, 1200])
def test_a_browser_shows_it_without_complaint_and_without_scrolling_sideways(written, width, tmp_path):
    (tmp_path / "probed.html").write_text(
        (written / "report.html").read_text().replace("</main>", f"</main><script>{PROBE}</script>")
    )
    file = tmp_path / "phone.html"  # a window cannot be as narrow as one
    file.write_text(FRAME.format(width=width))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    options += ["--virtual-time-budget=20000", "--window-size=1300,900", f"--user-data-dir={tmp_path / 'browser'}"]
    shown = subprocess.run([BROWSER, *options, file.as_uri()], capture_output=True, text=True, check=True, timeout=120)
    assert "CONSOLE" not in shown.stderr
    seen = json.loads(html.unescape(re.search(r"<title>(.*?)</title>", shown.stdout)[1]))
    assert seen["whole"] <= seen["window"] == width and seen["findings"] == []
    assert width == 390 or seen["cut"] == [], "on a screen every table and figure is seen whole"
    assert seen["loaded"] > 18 and seen["columns"] == (2 if width == 390 else 6)
