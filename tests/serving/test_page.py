"""The page in a real Chromium: what a person does with it, with a key and without."""

import re
import shutil
from pathlib import Path

import pytest

from bentos.access.keys import KeyFile, change_keys, keys_file, new_key
from tests.serving import page_stage
from tests.serving.page_stage import DESKTOP, PHONE, chromium, pages
from vision.data.labels.intake import kept_image

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def open_page(browser, live):
    """Opens the page; what the browser's console complains of is a failure of the test."""
    with pages(browser, live.url) as made:
        yield made


def photo(draw, label="moss", seed=5, name="leaf.jpg"):
    return page_stage.photo(draw(label, seed, "JPEG", (320, 200)), name)


def test_a_photo_gets_an_answer_bars_card_and_heatmap(open_page, draw):
    start, complaints = open_page
    page = start()
    page.locator("#model").get_by_text("amber, moss, slate").wait_for()
    page.set_input_files("#file", photo(draw))
    page.locator("#result").wait_for()
    assert page.inner_text("#answer").lower() == "moss"
    assert re.fullmatch(r"(over )?\d+ % sure.*", page.inner_text("#badge"))
    assert page.locator("#bars li").count() == 3
    assert "Nothing to do." in page.inner_text("#card")
    page.locator("#heatbar").wait_for()
    sizes = page.evaluate(
        "['photo', 'heat'].map(id => { const i = document.getElementById(id); return i.naturalWidth / i.naturalHeight })"
    )
    assert abs(sizes[0] - sizes[1]) < 0.02, "the heatmap lies over the photo"
    page.fill("#slider", "20")
    assert page.evaluate("document.getElementById('heat').style.opacity") == "0.2"
    assert complaints == []


def test_an_unsure_answer_asks_for_another_photo(open_page, draw):
    start, _ = open_page
    page = start()
    answer = {"label": "amber", "confidence": 0.41, "confident": False, "card": None, "prediction_id": "x", "model": {},
              "predictions": [{"label": "amber", "probability": 0.41}]}  # fmt: skip
    page.route("**/predict", lambda route: route.fulfill(json=answer))
    page.set_input_files("#file", photo(draw))
    page.locator("#retake").wait_for()
    assert "poor" in page.get_attribute("#badge", "class")
    assert "below what this model needs" in page.inner_text("#badge")
    assert not page.is_visible("#card")


def test_a_photo_that_could_not_be_kept_is_told(open_page, draw):
    start, complaints = open_page
    said = {
        "label": "moss",
        "confidence": 0.9,
        "confident": True,
        "prediction_id": "x",
        "predictions": [],
        "card": None,
    }
    page = start(fakes={"predict?keep=true": {**said, "kept": False}})
    page.set_input_files("#file", photo(draw))
    page.locator("#result").wait_for()
    assert not page.is_visible("#unkept") and page.inner_text("#kept") == "It is not kept."
    page.check("#keep")
    page.set_input_files("#file", photo(draw))
    page.locator("#unkept").wait_for()
    assert page.inner_text("#kept") == "It is kept for labelling." and complaints == []


def test_a_wrong_answer_can_be_corrected_and_is_recorded(open_page, draw, live):
    start, complaints = open_page
    page = start()
    page.set_input_files("#file", photo(draw, seed=6))
    page.locator("#result").wait_for()
    page.click("#no")
    page.select_option("#label", "slate")
    with page.expect_response("**/feedback") as sent:
        page.click("#correct button")
    page.get_by_text("Thank you.").wait_for()
    written = "".join(path.read_text() for path in (live.system / "feedback").rglob("*.ndjson"))
    assert sent.value.status == 200 and sent.value.json()["id"] in written and "slate" in written
    assert complaints == []


def test_the_passport_is_a_click_away(open_page, draw, live):
    start, complaints = open_page
    page = start()
    page.set_input_files("#file", photo(draw, seed=7))
    page.locator("#result").wait_for()
    page.click("#passport-open")
    page.locator("#passport").wait_for()
    assert page.locator("#passport dl").count() >= 2
    page.keyboard.press("Escape")
    assert not page.is_visible("#passport") and complaints == []


def test_a_file_that_is_no_image_is_told_in_words(open_page):
    start, _ = open_page
    page = start()
    page.set_input_files("#file", {"name": "notes.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"})
    page.locator("#problem").wait_for()
    assert "Allowed:" in page.inner_text("#problem") and not page.is_visible("#result")


def test_the_camera_takes_a_photo(open_page):
    start, complaints = open_page
    page = start(viewport=PHONE, permissions=["camera"])
    page.click("#camera")
    page.click("#shoot")
    page.locator("#result").wait_for()
    assert not page.is_visible("#viewfinder") and complaints == []


def test_all_of_it_works_with_the_keyboard_and_fits_a_phone(open_page, draw):
    start, _ = open_page
    page = start(viewport=PHONE, color_scheme="dark")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    page.set_input_files("#file", photo(draw, name="a'b <b>.jpg"))
    page.locator("#result").wait_for()
    assert page.evaluate("document.activeElement.id") == "answer"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    controls = "[...document.querySelectorAll('button, input, select, meter')]"
    named = "e => e.labels?.length || e.innerText || e.ariaLabel"
    assert page.evaluate(f"{controls}.filter(e => !({named})(e)).map(e => e.id)") == []


def test_a_service_with_keys_asks_for_one_and_remembers_it_in_the_tab(browser, state, draw, tmp_path_factory):
    from tasks.packaging.smoke import serving

    folder = tmp_path_factory.mktemp("keyed")
    shutil.copytree(state, folder / "state")
    key = given_key(folder / "state")
    env = {
        "VISIONOPS_STATE": str(folder / "state"),
        "VISIONOPS_SYSTEM": "quickstart",
        "VISIONOPS__SERVING__WORKERS": "1",
        "VISIONOPS__SERVING__ACCESS__KEYS_FILE": str(keys_file(folder / "state", "quickstart", None)),
    }
    root = Path(__file__).resolve().parents[2]
    with serving(".", root, folder / "log.txt", env) as server:
        page = browser.new_page(viewport=DESKTOP)
        page.goto(server.url)
        page.locator("#key").wait_for()
        page.fill("#key-value", key)
        page.click("#key button[value=ok]")
        page.locator("#model").get_by_text("amber").wait_for()
        page.set_input_files("#file", photo(draw))
        page.locator("#result").wait_for()
        assert page.inner_text("#answer").lower() == "moss" and key not in page.content()
        assert not list((folder / "state").glob("systems/*/inbox/*/*")), "nobody asked to keep it"
        page.check("#keep")
        assert page.inner_text("#kept") == "It is kept for labelling."
        sent = photo(draw, seed=8)
        with page.expect_response("**/predict?keep=true") as answered:
            page.set_input_files("#file", sent)
        page.click("#yes")
        page.get_by_text("the next one can learn from this photo").wait_for()
        inbox = folder / "state" / "systems" / "quickstart" / "inbox"
        assert kept_image(inbox, answered.value.json()["prediction_id"]).read_bytes() == sent["buffer"]
        page.reload()
        page.locator("#model").get_by_text("amber").wait_for()
        assert not page.is_visible("#key")
    assert key not in (folder / "log.txt").read_text()


def given_key(state: Path) -> str:
    key, text = new_key(("predict", "feedback", "keep"), "the page's test")
    change_keys(keys_file(state, "quickstart", None), lambda file: KeyFile(keys=(*file.keys, key)))
    return text
