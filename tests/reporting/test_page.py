"""report.html as a reader meets it: one file, the numbers of the report, in a real browser where there is one."""

import base64
import html
import json
import re
import shutil
import subprocess

import pytest

from archrepair_jax.reporting.page import page
from archrepair_jax.reporting.report import write

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture
def written(record, tmp_path):
    write(tmp_path, record)
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
    assert report["outcome_line"] in read
    for arm in report["arms"]:
        if arm["measures"]:
            assert f"{100 * arm['measures']['clean']['accuracy']:.2f} %" in read


def test_what_names_hold_is_shown_and_not_run():
    text = page("# A <b>bold</b> name\n\n<script>alert(1)</script>\n\n| a | b |\n|:--|--:|\n| <i> | 1 |\n", {})
    assert "<script" not in text and "<b>" not in text and "<i>" not in text
    assert "&lt;script&gt;" in text and "<title>A &lt;b&gt;bold&lt;/b&gt; name</title>" in text


@pytest.mark.slow
@pytest.mark.skipif(not BROWSER, reason="there is no chromium: install it, in Debian by its package")
@pytest.mark.parametrize("width", [390, 1200])
def test_a_browser_shows_it_without_complaint_and_without_scrolling_sideways(written, width, tmp_path):
    probe = (
        "<script>addEventListener('load', () => { document.title = [document.documentElement.scrollWidth, innerWidth,"
        " [...document.images].every(i => i.naturalWidth > 0)].join(' ') })</script>"
    )
    file = tmp_path / "probed.html"
    file.write_text((written / "report.html").read_text().replace("</main>", f"</main>{probe}"))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    options += [f"--window-size={width},900", f"--user-data-dir={tmp_path / 'browser'}"]
    shown = subprocess.run([BROWSER, *options, file.as_uri()], capture_output=True, text=True, check=True, timeout=120)
    assert "CONSOLE" not in shown.stderr
    whole, window, loaded = re.search(r"<title>(.*?)</title>", shown.stdout)[1].split()
    assert int(whole) <= int(window) and loaded == "true"
