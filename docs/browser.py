"""A browser without a window, for pictures of pages and for their tests. It needs Chromium, its driver and selenium."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from utils.errors import UserError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@contextmanager
def open_browser(width: int, height: int) -> Iterator[Any]:
    """Open Chromium with a window of this size in pixels. Yields selenium's driver, which keeps the console's messages.

    Raises UserError when Chromium, its driver or selenium is not installed.
    """
    try:
        from selenium import webdriver
    except ImportError as error:
        raise UserError(f"selenium is missing ({error}): install requirements-dev.txt") from None
    driver = shutil.which("chromedriver")
    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not (driver and chromium):
        raise UserError(
            "Chromium or its driver is missing: install both, on Debian by apt-get install chromium chromium-driver"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory() as profile:
        flags = ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "hide-scrollbars")
        for flag in (*flags, f"window-size={width},{height}", f"user-data-dir={profile}"):
            options.add_argument(f"--{flag}")
        with webdriver.Chrome(options, webdriver.ChromeService(driver)) as browser:
            yield browser
