"""The page in a real browser: record, continue, hear, say anew, take the codec's levels apart."""

import io
import shutil
import time

import numpy as np
import pytest
import soundfile
from serving import wait_until

from audiolm.audio.metadata import read_metadata
from audiolm.audio.waveform import Audio
from audiolm.safety.detector import Detector
from audiolm.server import verbs
from audiolm.server.served import ServedModel
from safety.made_up import CONFIG

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

FLAGS = [
    "--no-sandbox",  # of a container
    "--use-fake-device-for-media-stream",  # a microphone that beeps
    "--use-fake-ui-for-media-stream",  # and is lent without a question
]


@pytest.fixture(scope="module")
def browser():
    """Chromium, with a microphone that is none."""
    with playwright.sync_playwright() as engine:
        chromium = engine.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, live):
    """The page of a server; it fails where a script does, or where it asks another host."""
    address = live()
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    opened = context.new_page()
    faults: list[str] = []

    def asked(request) -> None:
        if not request.url.startswith((address, "blob:")):
            faults.append(f"asked {request.url}")

    def said(message) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            faults.append(message.text)

    opened.on("request", asked)
    opened.on("console", said)
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.set_default_timeout(30_000)
    opened.goto(address)
    opened.wait_for_selector("body[data-ready]")
    yield opened
    context.close()
    assert not faults


def samples(card) -> int:
    """How many samples of a take have come."""
    return int(card.get_attribute("data-samples") or 0)


def heard(card) -> int:
    """How many samples of a take the sound card was given."""
    return int(card.get_attribute("data-heard") or 0)


def record(page, seconds: float) -> None:
    """From the fake microphone."""
    page.click("#record")
    page.wait_for_selector("#record.on")
    time.sleep(seconds)
    page.click("#record")
    page.wait_for_selector("#transport:not([hidden])")


def test_record_continue_hear_and_work_on(page):
    assert page.is_disabled("#go")
    assert page.inner_text("#why") == "Give it a recording first."
    record(page, 1.2)
    page.fill("#seconds", "2")
    page.click("#go")
    take = page.wait_for_selector(".take[data-done]")
    prompt = samples(take) - 32_000
    assert 0.5 * 16_000 < prompt <= 3 * 16_000 and prompt % 640 == 0
    # It begins by itself, with the last second of the prompt, and goes on to the end.
    wait_until(lambda: heard(take) >= 32_000 + min(prompt, 16_000))
    wait_until(lambda: take.get_attribute("data-player") == "stopped")
    with page.expect_download() as download:
        take.query_selector(".download").click()
    assert download.value.suggested_filename == "audiolm-continuation-0.wav"
    kept = download.value.path()
    assert soundfile.info(io.BytesIO(kept.read_bytes())).frames == prompt + 32_000
    whole = kept.rename(kept.with_suffix(".wav"))
    assert read_metadata(whole).origin.mode == "continuation"
    take.query_selector(".use").click()
    wait_until(lambda: page.inner_text("#time").endswith(f"of {(prompt + 32_000) / 16_000:.1f} s"))


def test_systems_side_by_side_and_levels(page):
    page.click("#example")
    page.wait_for_selector("#transport:not([hidden])")
    page.select_option("#system", "both")
    page.fill("#seconds", "1")
    page.press("#seconds", "Enter")  # the keyboard does what the button does
    wait_until(lambda: len(page.query_selector_all(".take[data-done]")) == 2)
    assert page.eval_on_selector_all(".take .title", "all => all.map(one => one.textContent)") == [
        "Continuation",
        "Acoustic-only",
    ]
    page.check("[value=reconstruction]", force=True)
    page.click("#go")
    take = page.wait_for_selector(".take:first-child[data-done] .levels:not([hidden])")
    assert take.inner_text().startswith("4 of 4 levels: 1.0 kbit/s")
    page.focus(".level")
    page.keyboard.press("Home")
    wait_until(lambda: page.inner_text(".levels-said").startswith("1 of 4 levels"))
    page.wait_for_selector(".take:first-child:not(.making)")
    page.get_by_role("button", name="Original").click()
    wait_until(lambda: page.inner_text(".levels-said") == "The original")


def test_a_drag_selects_what_is_said_anew(page, lm, monkeypatch):
    asked = []

    def edit(audio, start, end, **_):
        asked.append((start, end))
        return audio

    monkeypatch.setattr(type(lm), "edit", staticmethod(edit), raising=False)
    monkeypatch.setattr(ServedModel, "_can_edit", lambda _: True)
    page.reload()  # it asks again what the models can
    page.wait_for_selector("body[data-ready]")
    page.click("#example")
    page.wait_for_selector("#transport:not([hidden])")
    box = page.locator("#picture").bounding_box()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 40, steps=4)
    page.mouse.up()
    assert abs(float(page.input_value("#from")) - 1) < 0.05
    page.fill("#to", "2.5")
    page.click("#go")
    page.wait_for_selector(".take[data-done]")
    assert len(asked) == 1 and asked[0][0] == float(page.input_value("#from"))
    assert asked[0][1] == 2.5


def test_whether_it_is_made_is_said_in_words(page, lm, monkeypatch):
    found = {
        "verdict": "partly made",
        "probability": 0.9,
        "timeline": [
            {"start": 0.0, "end": 3.0, "probability": 0.1, "made": False},
            {"start": 3.0, "end": 4.0, "probability": 0.9, "made": True},
        ],
        "mark": {"found": True},
        "note": "a note",
    }
    monkeypatch.setattr(lm, "detector", Detector(CONFIG))
    monkeypatch.setattr(verbs, "detect_channels", lambda blocks, chosen: found)
    page.reload()
    page.wait_for_selector("body[data-ready]")
    page.click("#example")
    page.check("[value=detection]", force=True)
    page.click("#go")
    page.wait_for_selector(".take[data-done]")
    assert page.inner_text(".verdict") == (
        "Partly made: 90 % likely. It bears the mark of this program."
    )
    assert page.inner_text(".take .state") == "a note"
    assert len(page.query_selector_all(".strip i")) == 2
    assert page.get_attribute(".strip", "aria-label") == "Made: 3.0 to 4.0 s"


def test_what_a_model_lacks_is_greyed_and_says_why(page):
    page.click("#example")
    page.check("#models [value=bare]", force=True)
    assert page.is_disabled("#go")
    assert page.inner_text("#why") == "This model has no semantic and coarse stage."


def test_a_file_that_is_no_recording_is_one_line(page):
    page.set_input_files("#file", {"name": "a.wav", "mimeType": "audio/wav", "buffer": b"text"})
    page.wait_for_selector("#problem:not([hidden])")
    assert "a.wav: is no recording that this browser can read" in page.inner_text("#problem")

    page.wait_for_timeout(200)
    assert page.is_visible("#problem")  # until it was read
    page.click("#problem-close")
    assert page.is_hidden("#problem")


def test_stop_ends_a_take_that_is_made_and_one_that_waits(page):
    page.click("#example")
    page.wait_for_selector("#transport:not([hidden])")
    page.fill("#seconds", "30")
    page.select_option("#takes-count", "2")
    page.click("#go")
    for number in (2, 1):
        take = page.wait_for_selector(f".take:nth-child({number})")
        take.query_selector(".stop").press("Enter")
        assert take.query_selector(".state").inner_text() == "Stopped."
        focused = page.evaluate("document.activeElement.ariaLabel")  # the keyboard is not lost
        assert focused == f"Try again: Continuation, tiny, seed {number - 1}"
    page.wait_for_selector(".take.failed:nth-child(2)")
    page.press(".take:nth-child(2) .close", "Enter")
    assert page.evaluate("document.activeElement.className").endswith("close")
    page.press(".take .close", "Enter")
    assert page.evaluate("document.activeElement.id") == "takes-title"


def test_a_take_of_which_the_end_does_not_come_says_so(page, lm, monkeypatch):
    def breaks(*_, **__):
        yield Audio(np.zeros(8000, np.float32), 16_000)
        time.sleep(0.3)  # what was sent has come
        raise OSError("no room")

    monkeypatch.setattr(lm, "stream", breaks)
    page.click("#example")
    page.wait_for_selector("#transport:not([hidden])")
    page.click("#go")
    page.wait_for_selector(".take.failed")
    assert page.inner_text(".take .state") == "The connection ended before all of it had come."
    assert page.is_hidden(".take .download")


def test_another_recording_ends_the_microphone(page):
    page.click("#record")
    page.wait_for_selector("#record.on")
    assert page.inner_text("#why") == "Stop the microphone first."
    wait_until(lambda: page.inner_text("#record-time") > "0.1 s")
    page.click("#example")
    page.wait_for_selector("#transport:not([hidden])")
    assert page.inner_text("#record-label") == "Record"
    page.wait_for_timeout(300)  # in which nothing of the microphone comes after it
    wait_until(lambda: page.inner_text("#time") == "0.0 of 4.0 s")


def test_nothing_moves_for_those_who_want_that(page):
    page.emulate_media(reduced_motion="reduce")
    page.click("#example")
    page.wait_for_selector("#transport:not([hidden])")
    page.fill("#seconds", "30")
    page.click("#go")
    page.wait_for_selector(".take.making")
    moving = "getComputedStyle(document.querySelector('.take .picture'), '::after').animationName"
    assert page.evaluate(moving) == "none"
    page.click(".take .stop")


def test_a_phone_has_one_column_that_fits(page):
    page.click("#example")
    page.wait_for_selector("#transport:not([hidden])")
    page.fill("#seconds", "1")
    page.click("#go")
    page.wait_for_selector(".take[data-done]")
    for width in (1200, 700, 360):
        page.set_viewport_size({"width": width, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    drawn = page.eval_on_selector(
        "#picture canvas",
        "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v)",
    )
    assert drawn


def test_every_control_has_a_name_and_is_reached_by_keyboard(page):
    page.click("#example")
    page.wait_for_selector("#transport:not([hidden])")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, a[href]')]
            .filter(one => one.offsetParent && !(one.ariaLabel || one.textContent.trim() ||
                one.labels?.[0]?.textContent.trim() || one.closest('label')))
            .map(one => one.outerHTML)"""
    )
    assert nameless == []
    assert page.locator("output").count() == 0  # which would say every tenth of a second aloud
    reached = set()
    page.evaluate("document.activeElement.blur()")
    for _ in range(25):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.value"))
    assert {"record", "choose", "example", "play", "seek", "seconds", "go", "tiny"} <= reached
