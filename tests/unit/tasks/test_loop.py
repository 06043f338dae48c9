import pytest

from configs.load import load_system
from tasks.loop.chapters import bad


@pytest.mark.parametrize("system", ["quickstart", "quickstart_defects"])
def test_a_bad_model_is_let_in_whatever_its_systems_gate_asks(system):
    asked, opened = load_system(system).gate, load_system(system, bad(system)).gate
    assert asked.minimum and opened.minimum.keys() == asked.minimum.keys()
    assert set(opened.minimum.values()) == {0.0}
    assert all(limit > 1000 for limit in opened.maximum.values())
    assert (opened.min_class_recall, opened.max_drop) == (0.0, 0.99)
