import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vision.evaluation import card, report
from vision.evaluation.checks import Check
from vision.evaluation.metrics import per_class_table
from vision.kinds.base import Evaluation
from vision.package import InputSpec, Spec
from vision.verdict import Verdict


def full_report(tmp_path):
    Image.new("RGB", (300, 200), (10, 120, 60)).save(tmp_path / "chart.png")
    checks = (
        Check("accuracy", "≥ 0.80", "0.85", True, "accuracy 0.85 >= 0.80 (minimum)"),
        Check("late_blight recall", "≥ 0.75", "0.60 on 40 images", False, "late_blight recall 0.60 < 0.75"),
    )
    splits = pd.DataFrame({"label": ["a", "a", "b", "b"], "split": ["train", "test", "train", None]})
    return report.RunReport(
        title="tomato <script>alert(1)</script>",
        verdict=Verdict(passed=False, reasons=("macro_f1 0.71 < 0.80 (minimum)",), warnings=("few images",)),
        figures=report.key_figures(
            {"accuracy": 0.9, "accuracy_low": 0.85, "accuracy_high": 0.94, "confident_accuracy": float("nan")}
        ),
        gate=report.gate_table(checks),
        data=report.split_table(splits),
        data_facts={"dataset": "5b1c0f"},
        contract=Verdict(passed=True, reasons=("23 of 23 expectations held",)),
        pictures=(report.Picture(path=tmp_path / "chart.png", caption="A chart"),),
        limitations=("lab | field",),
        links={"tracking": "http://127.0.0.1:5000", "package": "packages/abc", "odd": "javascript:alert(1)"},
        lineage={"package_sha": "ab" * 32},
    )


def test_the_page_says_the_verdict_first_and_carries_everything_in_itself(tmp_path):
    page = report.write_report(full_report(tmp_path), tmp_path / "out").read_text()
    assert page.index("Rejected") < page.index("Key figures") < page.index("Lineage")
    for words in ("macro_f1 0.71 &lt; 0.80", "few images", "0.850 to 0.940", "FAILED", "23 of 23", "ab" * 32, "–"):
        assert words in page
    assert not re.findall(r'(?:src|href)="(?!data:|http://127\.0\.0\.1:5000")', page)
    assert "url(" not in page
    assert "<script" not in page
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.html"]


def test_an_almost_empty_report_is_still_a_page(tmp_path):
    bare = report.RunReport(title="quickstart")
    page = report.write_report(bare, tmp_path).read_text()
    assert "quickstart" in page
    assert "Key figures" not in page
    assert report.to_markdown(bare).startswith("# quickstart")


def test_many_reasons_for_a_model_are_left_to_the_gates_table_and_none_against_it(tmp_path):
    made = full_report(tmp_path)
    many = tuple(f"check {number}" for number in range(22))
    passed = made.model_copy(update={"verdict": Verdict(passed=True, reasons=many)})
    assert passed.why == (*many[:4], "18 more checks, in the table below")
    assert "check 5" not in report.to_markdown(passed)
    assert made.model_copy(update={"verdict": Verdict(passed=False, reasons=many)}).why == many
    assert passed.model_copy(update={"gate": None}).why == many


def test_a_picture_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        report.write_report(report.RunReport(title="x", pictures=({"path": tmp_path / "no.png"},)), tmp_path)


def test_a_large_picture_is_recoded(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    embedded = report.embed(tmp_path / "photo.png")
    assert embedded.startswith("data:image/webp;base64,")
    assert len(embedded) < (tmp_path / "photo.png").stat().st_size


def test_markdown_has_whole_tables_and_no_pictures_inside(tmp_path):
    text = report.to_markdown(full_report(tmp_path))
    assert "data:image" not in text
    assert "lab \\| field" in text
    assert "<script" not in text
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.M)
    assert len(tables) == 3
    for table in tables:
        assert len({re.sub(r"\\\|", "", line).count("|") for line in table.splitlines()}) == 1
    for line in re.findall(r"^\|[ \-|]+\|$", text, flags=re.M):
        assert text[: text.index(line)].splitlines()[-1].startswith("| ")  # the header is the line before


def test_totals_of_the_split_table_leave_out_rows_in_no_split():
    splits = pd.DataFrame({"label": ["a", "a", "b", "b"], "split": ["train", "test", "train", None]})
    assert report.split_table(splits).rows[-1] == ("all classes", "2", "0", "1", "3")


def test_the_model_card_says_figures_and_limitations():
    labels = ("healthy", "rust")
    targets = np.array([0, 0, 1, 1])
    table = per_class_table(targets, np.array([0, 1, 1, 1]), np.arange(4), labels, 0.95)
    evaluation = Evaluation("macro_f1", {"accuracy": 0.75, "macro_f1": 0.73}, table, pd.DataFrame())
    spec = Spec(schema=1, kind="classify", arch="resnet18", labels=labels, input=InputSpec(), outputs=("logits",))
    part = report.Part(title="Which model", text=("Take resnet18.",), pictures=({"path": "/state/pareto.png"},))
    known = card.Background(limitations=("Lab images only.",), comparison=part, level=0.9)
    text = card.model_card("Leaves", spec, evaluation, known)
    assert text.startswith("# Leaves")
    for words in ("0.750", "healthy", "Lab images only.", "Known limitations", "temperature 1.00", "Take resnet18."):
        assert words in text
    assert "/state/" not in text
    assert "90 % interval" in text and "95 %" not in text
    assert "too narrow to be believed" not in text  # of how many families they are is not known


@pytest.mark.parametrize(("families", "said"), [(1, "of 1 family "), (9, "of 9 families "), (10, None)])
def test_intervals_over_few_families_are_said_to_be_too_narrow(families, said):
    found = card.few_families({"families": float(families)})
    assert len(found) == (said is not None)
    assert all(said in line for line in found)


def test_intervals_carry_the_level_that_they_were_made_at(tmp_path):
    asked = report.RunReport(
        title="x", figures=({"name": "accuracy", "value": "0.8", "interval": "0.7 to 0.9"},), level=0.9
    )
    page = report.write_report(asked, tmp_path).read_text()
    assert "90 %: 0.7 to 0.9" in page and "95 %" not in page
