import warnings
from pathlib import Path

import matplotlib
import pandas as pd

from vision.evaluation import letters, plots
from vision.evaluation.style import new_figure, readable


def titles(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text)]


def figure_of(text):
    figure = new_figure(3, 2)
    figure.subplots().set_title(text)
    return figure


def test_letters_that_no_font_has_are_spelt_and_the_picture_says_so(monkeypatch):
    monkeypatch.setattr(letters, "_others", tuple)
    assert readable("番茄_blight ≤ é") == "‹756A 8304› blight ≤ é"
    assert readable("一二三四五六七八") == "‹4E00 4E8C 4E09 … 516D 4E03 516B›"
    figure = figure_of(readable("番茄"))
    letters.set_fonts(figure)
    assert letters.NOTE in titles(figure)


def test_a_font_that_has_the_letters_is_taken(monkeypatch):
    symbols = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
    monkeypatch.setattr(letters, "_others", lambda: (("Some Sans", symbols),))
    monkeypatch.setattr(letters, "_own_font", lambda: str(Path(symbols).with_name("cmr10.ttf")))
    assert readable("Жук") == "Жук"
    figure = figure_of("Жук")
    letters.set_fonts(figure)
    assert any("Some Sans" in text.get_fontfamily() for text in figure.findobj(matplotlib.text.Text))


def test_a_plain_figure_is_left_alone():
    figure = figure_of(readable("early_blight – ≥ 0.5 …"))
    letters.set_fonts(figure)
    assert "early blight – ≥ 0.5 …" in titles(figure) and letters.NOTE not in titles(figure)


def test_classes_in_any_script_are_drawn_without_empty_boxes(tmp_path):
    splits = pd.DataFrame({"label": ["番茄早疫病", "健康", "🍅"], "split": "train"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plots.class_distribution(splits, tmp_path / "classes.png").stat().st_size > 1000
