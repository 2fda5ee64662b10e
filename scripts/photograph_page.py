"""Draw docs/page-desktop.png and docs/page-phone.png: `audiolm serve` in Chromium, after some use.

python scripts/photograph_page.py [--chromium /usr/bin/chromium] [--out docs]
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright


def use(page: Page, address: str, whole: bool) -> None:
    """Take the example and continue it; where `whole`, by two systems, and the codec before."""
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    page.click("#example")
    page.wait_for_selector("#transport:not([hidden])")
    if whole:
        page.check("[value=reconstruction]", force=True)
        page.click("#go")
        page.wait_for_selector(".take[data-done]")
        page.check("[value=continuation]", force=True)
        page.select_option("#system", "both")
    page.fill("#seconds", "5")
    page.click("#go")
    for number in range(1, 4 if whole else 2):
        page.wait_for_selector(f".take:nth-child({number})[data-done]", timeout=120_000)
    page.wait_for_timeout(1500)  # of playing


def main() -> None:
    """Start a server, use the page, take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    parser.add_argument("--out", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "audiolm", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = "http://" + server.stdout.readline().partition("http://")[2].split()[0]
            with sync_playwright() as engine:
                flags = ["--no-sandbox"]
                chromium = engine.chromium.launch(executable_path=arguments.chromium, args=flags)
                desk = chromium.new_page(viewport={"width": 1280, "height": 1000})
                use(desk, address, whole=True)
                desk.screenshot(path=arguments.out / "page-desktop.png", full_page=True)
                phone = chromium.new_page(
                    viewport={"width": 390, "height": 844},
                    device_scale_factor=2,
                    color_scheme="dark",
                )
                use(phone, address, whole=False)
                phone.evaluate("scrollTo(0, 0)")
                phone.screenshot(path=arguments.out / "page-phone.png")
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
