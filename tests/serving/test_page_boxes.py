"""Boxes on the page, in a real Chromium: shown where the answer says, and drawn by a person who knows better."""

import json
import re

import pytest

from tests.serving.boxes_stage import box_package, draw_boxes, working
from tests.serving.page_stage import DESKTOP, PHONE, chromium, dragged, pages, photo, touched
from vision.data.boxes.geometry import Box
from vision.records_read import read_feedback

pytestmark = pytest.mark.slow
URL = "http://detector.test/"
SCRATCH = Box("scratch", 64, 48, 128, 96)
PICTURE = draw_boxes([SCRATCH], (320, 200), image_format="JPEG")


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    package = box_package(tmp_path_factory.getbasetemp())
    with working(package, tmp_path_factory.mktemp("page_boxes") / "state") as made:
        yield made


@pytest.fixture
def open_page(browser, worker):
    """The real service behind it, without a server between."""
    with pages(browser, URL) as (start, complaints):
        yield (lambda **options: start(app=worker.client, **options)), complaints


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
def test_boxes_lie_on_the_photo_where_the_answer_says_with_a_list_that_a_keyboard_walks(open_page, viewport):
    start, complaints = open_page
    page = start(fakes={"model/version": DETECTOR, "predict": FOUND}, viewport=viewport)
    page.locator("#model").get_by_text("dent, pit, scratch").wait_for()
    page.set_input_files("#file", photo(PICTURE))
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


def test_a_normal_image_says_that_nothing_was_found_and_may_be_called_otherwise(open_page):
    start, complaints = open_page
    page = start(fakes={"model/version": DETECTOR, "predict": NORMAL})
    page.set_input_files("#file", photo(PICTURE))
    page.locator("#count").get_by_text("Nothing found on the photo.").wait_for()
    assert page.inner_text("#answer").lower() == "normal" and page.locator("#boxes g, #found li").count() == 0
    page.click("#no")
    assert page.locator("#label option").all_inner_texts() == DETECTOR["vocabulary"]
    assert not page.is_visible("#several") and complaints == []


def test_a_heatmap_and_boxes_share_the_photo_and_the_score_is_told(open_page):
    start, complaints = open_page
    unusual = {**FOUND, "label": "defect", "score": 1.834, "threshold": 1.0, "boxes": [FOUND["boxes"][0]]}
    page = start(fakes={"model/version": {**DETECTOR, "heatmap": True}, "predict": unusual})
    page.set_input_files("#file", photo(PICTURE))
    page.locator("#heatbar").wait_for()
    assert page.inner_text("#score") == "How unusual it is: 1.83; usual is up to 1.00"
    assert page.locator("#boxes g").count() == 1 and page.is_visible("#heat")
    assert page.evaluate("document.elementFromPoint(...(r => [r.x + r.width / 2, r.y + 1])"
                         "(document.querySelector('#boxes .line').getBoundingClientRect())).classList[0]") == "line"  # fmt: skip
    assert complaints == []


def open_with(open_page, picture, **options):
    """A page that shows the answer to it."""
    start, complaints = open_page
    page = start(**options)
    page.locator("#model").get_by_text("pit, scratch").wait_for()
    page.set_input_files("#file", photo(picture))
    page.locator("#result").wait_for()
    return page, complaints


def said(page, button):
    with page.expect_response("**/feedback") as sent:
        page.click(button)
    page.get_by_text("Thank you.").wait_for()
    assert sent.value.status == 200, sent.value.text()
    return json.loads(sent.value.request.post_data)


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_person_draws_what_was_missed_removes_what_is_none_and_the_service_has_it(open_page, worker, viewport):
    both = draw_boxes([SCRATCH, Box("pit", 240, 20, 300, 60)], (320, 200), image_format="JPEG")
    page, complaints = open_with(open_page, both, viewport=viewport)
    page.click("#no")
    page.click("#draw")
    assert page.locator("#marked li").count() == 2 and not page.is_visible("#correct") and not page.is_visible("#boxes")
    page.get_by_label(re.compile("Remove . pit")).click()
    page.select_option("#mark-label", "pit")
    page.locator("#mark-send").scroll_into_view_if_needed()
    assert page.locator("#photo").bounding_box()["y"] >= 0, "the photo stays in sight"
    dragged(page, 180, 150, 140, 120)
    dragged(page, 10, 10, 10.2, 10.2)
    assert page.locator("#marked li").count() == 2, "a click is no box"
    page.select_option("#mark-label", "scratch")
    assert "Pit" in page.locator("#marked").inner_text().title(), "the label is that of the next box"
    sent = said(page, "#mark-send")
    kept = read_feedback(worker.system / "feedback").set_index("id").loc[sent["id"]]
    assert kept["boxes"] == sent["boxes"] and sent["label"] == kept["label"] == "pit"
    scratch, pit = sent["boxes"]
    assert (scratch["label"], pit["label"]) == ("scratch", "pit")
    assert scratch["box"] == pytest.approx(SCRATCH[1:], abs=2.6) and pit["box"] == pytest.approx(
        [140, 120, 180, 150], abs=1.5
    )
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth") and complaints == []
    assert not page.is_visible("#marks") and page.is_visible("#boxes")


def test_a_click_selects_a_box_which_a_pointer_then_moves_and_a_second_finger_draws_nothing(open_page, worker):
    page, complaints = open_with(open_page, PICTURE, has_touch=True)
    page.click("#no")
    page.click("#draw")
    dragged(page, 200, 20, 260, 60)
    dragged(page, 230, 40, 230, 40)
    assert page.locator("#marked .lit").inner_text().split("\n")[0] == "2"
    page.select_option("#mark-label", "scratch")
    dragged(page, 230, 40, 210, 100)
    assert page.locator("#marked li").count() == 2
    touched(page, [(0.3, 0.1)], [(0.4, 0.4)], [(0.4, 0.4), (0.8, 0.1)], [(0.45, 0.45), (0.9, 0.4)], [])
    assert page.locator("#marked li").count() <= 3, "two fingers draw no two boxes"
    assert page.locator("#marked .name").all_inner_texts()[:2] == ["Scratch", "Scratch"]
    assert "0 × 0" not in page.inner_text("#marked")
    sent = said(page, "#mark-send")
    assert sent["boxes"][1]["box"] == pytest.approx([180, 80, 240, 120], abs=1.5) and complaints == []
    assert page.evaluate("document.activeElement.id") == "thanks"


def test_boxes_are_moved_resized_and_removed_by_keys_and_none_says_normal(open_page, worker):
    page, complaints = open_with(open_page, PICTURE)
    page.click("#no")
    page.click("#draw")
    page.click("#mark-add")
    for key in ("ArrowRight", "ArrowDown", "Shift+ArrowLeft", "Shift+ArrowLeft", "Shift+ArrowUp"):
        page.keyboard.press(key)
    assert page.locator("#marked .lit .quiet").inner_text() == "middle, 58 × 38 px"
    page.select_option("#mark-label", "scratch")
    assert "Scratch" in page.locator("#marked .lit").inner_text().title()
    drawn = page.locator("#marks g.lit .line").bounding_box()
    frame = page.locator("#photo").bounding_box()
    assert (drawn["x"] - frame["x"]) / frame["width"] == pytest.approx(0.41, abs=0.01)
    page.locator("#marked .lit button").first.focus()
    for _ in range(50):
        page.keyboard.press("ArrowLeft")
    assert page.locator("#marks g.lit .line").bounding_box()["x"] == pytest.approx(frame["x"], abs=3)
    assert page.locator("#marked .lit .quiet").inner_text() == "left, 58 × 38 px", "it ends at the photo's edge"
    page.keyboard.press("Delete")
    page.keyboard.press("Delete")
    assert page.locator("#marked li").count() == 0
    assert page.evaluate("document.activeElement.id") == "mark-add"
    sent = said(page, "#mark-send")
    assert (sent["label"], sent["boxes"]) == ("normal", []) and complaints == []


def test_yes_says_that_every_box_is_right_and_of_a_normal_image_that_there_is_none(open_page, worker):
    page, complaints = open_with(open_page, PICTURE)
    assert page.inner_text("#right") == "Was this right, every box?"
    sent = said(page, "#yes")
    assert [box["label"] for box in sent["boxes"]] == ["scratch"] and "can learn" not in page.inner_text("#thanks")
    page.set_input_files("#file", photo(draw_boxes([], (320, 200), image_format="JPEG")))
    page.locator("#count").get_by_text("Nothing found on the photo.").wait_for()
    assert page.inner_text("#right") == "Was this right?"
    sent = said(page, "#yes")
    assert (sent["label"], sent["boxes"]) == ("normal", []) and complaints == []


def test_without_a_key_that_allows_it_no_photo_is_kept_and_that_is_said(open_page, worker):
    start, _ = open_page
    page = start()
    page.check("#keep")
    page.set_input_files("#file", photo(PICTURE))
    page.locator("#problem").wait_for()
    assert "no photo is kept" in page.inner_text("#got") and "new tab" in page.inner_text("#do")
    assert not list(worker.system.glob("inbox/*/*"))


def test_changing_ones_mind_leaves_the_answer_as_it_was(open_page):
    page, complaints = open_with(open_page, PICTURE)
    page.click("#no")
    page.click("#draw")
    page.get_by_label(re.compile("Remove . scratch")).click()
    dragged(page, 200, 20, 260, 60)
    page.click("#mark-cancel")
    assert page.is_visible("#yes") and not page.is_visible("#mark") and page.locator("#boxes g").count() == 1
    page.click("#no")
    page.click("#draw")
    assert (
        re.match(r"1\s+scratch", page.inner_text("#marked"), re.IGNORECASE) and page.locator("#marked li").count() == 1
    )
    assert complaints == []
