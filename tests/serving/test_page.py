"""The page in a real Chromium: what a person does with it, with a key and without."""

import re
import shutil
from pathlib import Path

import pytest

from bentos.access.keys import KeyFile, change_keys, keys_file, new_key

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1200, "height": 900}


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Without an installed Chromium, playwright's own; where neither is, the tests fail and say so.
        started = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"],
        )
        yield started
        started.close()


@pytest.fixture
def open_page(browser, live):
    """Opens the page; what the browser's console complains of is a failure of the test. fakes: path -> JSON in the service's place."""
    opened, complaints = [], []

    def start(url=live.url, fakes=None, **options):
        context = browser.new_context(**{"viewport": DESKTOP, "reduced_motion": "reduce", **options})
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        for path, answer in (fakes or {}).items():
            page.route(f"**/{path}", saying(answer))
        page.goto(url)
        opened.append(context)
        return page

    yield start, complaints
    for context in opened:
        context.close()


def saying(answer):
    return lambda route: route.fulfill(json=answer)


def photo(draw, label="moss", seed=5, name="leaf.jpg"):
    return {"name": name, "mimeType": "image/jpeg", "buffer": draw(label, seed, "JPEG", (320, 200))}


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


DETECTOR = {
    "title": "Surface defects", "version": 4, "arch": "ssdlite320_mobilenet_v3_large", "labels": ["dent", "pit", "scratch"],
    "vocabulary": ["dent", "pit", "scratch", "normal"], "heatmap": False, "confident_at": 0.6,
}  # fmt: skip
SIZE = {"width_px": 320, "height_px": 200, "prediction_id": "x", "model": {}, "card": None, "threshold": 0.4}
FOUND = {"label": "scratch", "confidence": 0.93, "confident": True, **SIZE, "boxes": [
    {"label": "scratch", "confidence": 0.93, "box": [32, 20, 160, 60]},
    {"label": "pit", "confidence": 0.47, "box": [240, 100, 320, 200]}]}  # fmt: skip
NORMAL = {"label": "normal", "confidence": 0.97, "confident": True, **SIZE, "boxes": []}


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_boxes_lie_on_the_photo_where_the_answer_says_with_a_list_that_a_keyboard_walks(open_page, draw, viewport):
    start, complaints = open_page
    page = start(fakes={"model/version": DETECTOR, "predict": FOUND}, viewport=viewport)
    page.locator("#model").get_by_text("dent, pit, scratch").wait_for()
    page.set_input_files("#file", photo(draw))
    page.locator("#result").wait_for()
    frame, *lines = (
        page.locator(where).bounding_box() for where in ("#photo", "[data-box='0'] .line", "[data-box='1'] .line")
    )
    for line, wanted in zip(lines, (one["box"] for one in FOUND["boxes"]), strict=True):
        shares = [(line["x"] - frame["x"]) / frame["width"], (line["y"] - frame["y"]) / frame["height"],
                  line["width"] / frame["width"], line["height"] / frame["height"]]  # fmt: skip
        x1, y1, x2, y2 = wanted
        assert shares == pytest.approx([x1 / 320, y1 / 200, (x2 - x1) / 320, (y2 - y1) / 200], abs=0.02)
    assert page.inner_text("#count") == "2 found on the photo"
    assert (
        re.sub(r"\s+", " ", page.inner_text("#found li:nth-child(2)")).strip().lower()
        == "2 pit 47 % lower right, 80 × 100 px"
    )
    page.locator("#found button").nth(1).focus()
    assert page.evaluate("[...document.querySelectorAll('.lit')].map(e => e.dataset.box)") == ["1", "1"]
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("[...document.querySelectorAll('.lit')].map(e => e.dataset.box)") == ["0", "0"]
    page.locator("#boxes [data-box='1'] .line").hover(position={"x": 1, "y": 5})
    assert "lit" in page.locator("#found button").nth(1).get_attribute("class")
    assert page.locator("#boxes .faint").count() == 1, "the one below what the model calls sure"
    assert not page.is_visible("#heatbar") and not page.is_visible("#bars")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth") and complaints == []


def test_a_normal_image_says_that_nothing_was_found_and_may_be_called_otherwise(open_page, draw):
    start, complaints = open_page
    page = start(fakes={"model/version": DETECTOR, "predict": NORMAL})
    page.set_input_files("#file", photo(draw))
    page.locator("#count").get_by_text("Nothing found on the photo.").wait_for()
    assert page.inner_text("#answer").lower() == "normal" and page.locator("#boxes g, #found li").count() == 0
    page.click("#no")
    assert page.locator("#label option").all_inner_texts() == DETECTOR["vocabulary"]
    assert not page.is_visible("#several") and complaints == []


def test_a_heatmap_and_boxes_share_the_photo_and_the_score_is_told(open_page, draw):
    start, complaints = open_page
    unusual = {**FOUND, "label": "defect", "score": 1.834, "threshold": 1.0, "boxes": [FOUND["boxes"][0]]}
    page = start(fakes={"model/version": {**DETECTOR, "heatmap": True}, "predict": unusual})
    page.set_input_files("#file", photo(draw))
    page.locator("#heatbar").wait_for()
    assert page.inner_text("#score") == "How unusual it is: 1.83; usual is up to 1.00"
    assert page.locator("#boxes g").count() == 1 and page.is_visible("#heat")
    assert page.evaluate("document.elementFromPoint(...(r => [r.x + r.width / 2, r.y + 1])"
                         "(document.querySelector('#boxes .line').getBoundingClientRect())).classList[0]") == "line"  # fmt: skip
    assert complaints == []


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
        page.reload()
        page.locator("#model").get_by_text("amber").wait_for()
        assert not page.is_visible("#key")
    assert key not in (folder / "log.txt").read_text()


def given_key(state: Path) -> str:
    key, text = new_key(("predict", "feedback"), "the page's test")
    change_keys(keys_file(state, "quickstart", None), lambda file: KeyFile(keys=(*file.keys, key)))
    return text
