"""A page in a real browser, for what only a browser knows: what is shown, what runs over the edge, what is printed."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextlib.contextmanager
def opened(path: Path, width: int, *, dark: bool = False) -> Iterator[tuple[Page, list[str]]]:
    """Open a file; yields the page and the list that its complaints are added to.

    Skips the test where there is no Chromium (``apt-get install chromium``) or no playwright.
    """
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium")
    complaints: list[str] = []
    with driver.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        scheme = "dark" if dark else "light"
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path.resolve().as_uri())
        yield page, complaints
        browser.close()


# What has text and does not show it, apart from what matches a selector.
HIDDEN = """(ignored) => [...document.querySelectorAll("main *")].filter((one) => {
  if (one.closest(ignored) || !one.childNodes.length || one.tagName === "TITLE") return false;
  const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  const holder = getComputedStyle(one).display === "contents" ? one.parentElement : one;
  const box = holder.getBoundingClientRect();
  return own && (!holder.checkVisibility({ visibilityProperty: true }) || !box.width || !box.height);
}).map((one) => one.outerHTML.slice(0, 120))"""
# What reaches over the right edge, and is not in a box that can be scrolled.
OVER_THE_EDGE = """() => [...document.querySelectorAll("body *")].filter((one) => {
  if (one.closest("svg svg, svg *, .whole")) return false;
  for (let at = one.parentElement; at && at !== document.body; at = at.parentElement)
    if (["auto", "hidden", "scroll"].includes(getComputedStyle(at).overflowX)) return false;
  return one.getBoundingClientRect().right > innerWidth + 1;
}).map((one) => one.outerHTML.slice(0, 120))"""
DEAD_LINKS = """() => [...document.querySelectorAll('a[href^="#"]')].map((link) => link.hash.slice(1))
  .filter((key) => !document.getElementById(key))"""
TWICE = """() => { const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  return ids.filter((id, at) => ids.indexOf(id) !== at); }"""
