import pytest

from configs.load import load_system
from tasks.loop.chapters import bad
from tasks.loop.traffic import draw


@pytest.mark.parametrize("system", ["quickstart", "quickstart_defects"])
def test_a_bad_model_is_let_in_whatever_its_systems_gate_asks(system):
    asked, opened = load_system(system).gate, load_system(system, bad(system)).gate
    assert asked.minimum and opened.minimum.keys() == asked.minimum.keys()
    assert set(opened.minimum.values()) == {0.0}
    assert all(limit > 1000 for limit in opened.maximum.values())
    assert (opened.min_class_recall, opened.max_drop) == (0.0, 0.99)


def test_people_draw_the_boxes_of_a_surface_and_call_a_leaf_by_its_name():
    surface, leaf = (load_system(name).data.source for name in ("quickstart_defects", "quickstart"))
    dented = draw(surface, "field", "dent", 1)
    assert {"dent"} <= {box["label"] for box in dented.boxes} and dented.called("dent") == "dent"
    assert dented.called("normal") == dented.called("nothing") == "dent"
    assert draw(surface, "field", "normal", 1).boxes == [] and draw(leaf, "field", "healthy", 1).boxes is None
    pits = (draw(surface, "field", "pit", seed) for seed in range(50))
    both = next(one for one in pits if len({box["label"] for box in one.boxes}) > 1)
    assert all(both.called(box["label"]) == box["label"] for box in both.boxes)  # each of them is there
