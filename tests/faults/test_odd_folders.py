"""A folder that holds every odd image, with the real Prefect, Ray, DVC, GX, MLflow and BentoML. The tests build on each other."""

import pandas as pd
import pytest
from commands import train
from odd_images import NAMES, READABLE, TURNS, UNREADABLE, encoded, picture, turned, write, write_class

from flows.command import AGAINST, DONE

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server", "ray", "shared_state")]
GOOD = 32 + len(READABLE) + len(TURNS) + len(NAMES)
LENIENT = ("contract.max_unreadable_share=0.1", "contract.max_imbalance=3", "contract.split_share_tolerance=0.3")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shelf")
    for start, label in ((0, "leaf"), (100, 'stein "$5_$" 早')):
        write_class(folder / label, 16, start)
    for seed, (name, make) in enumerate({**READABLE, **UNREADABLE}.items(), 200):
        write(folder / "leaf" / name, make(seed))
    for orientation in TURNS:
        write(folder / "leaf" / f"turned {orientation}.png", turned(300, orientation))
    for seed, name in enumerate(NAMES, 400):
        write(folder / "leaf" / name, encoded(picture(seed), "JPEG"))
    return folder


@pytest.fixture
def system(shelf, tiny):
    split = {"train": 0.5, "val": 0.25, "test": 0.25}
    return tiny(data={"source": {"type": "folder", "path": str(shelf)}, "split": split})


def newest_split(state):
    paths = state.glob("systems/tiny/stages/split/*/splits.parquet")
    return pd.read_parquet(max(paths, key=lambda path: path.stat().st_mtime_ns)).set_index("path")


def test_the_unreadable_are_named_and_the_readable_reach_their_splits(system, shared_state, capfd, fault):
    said = train(capfd, system)
    bad = [f"images/leaf/{name}" for name in UNREADABLE]
    assert said.code == AGAINST and f"readable: {len(bad)} of {GOOD + len(bad)} images" in said.message
    assert all(f"{name}: error" in said.message for name in bad)
    table = newest_split(shared_state)
    assert set(table.index[table["error"].notna()]) == set(bad) and len(table) == GOOD + len(bad)
    assert table.drop(index=bad)["split"].notna().all()
    assert not list(shared_state.glob("systems/tiny/stages/train/*"))
    kept = f"the data version and a split of the {GOOD} readable images; nothing trained, nothing registered"
    fault.saw(
        "Images",
        "a folder with all of these together",
        exit=said.code,
        says=said.message.partition("\n  report:")[0],
        kept=kept,
    )


def test_with_a_share_let_through_the_readable_ones_make_a_model(system, capfd, fault):
    said = train(capfd, system, *LENIENT)
    assert said.code == DONE and "version 1 is champion" in said.out, (said.out, said.err)
    given, kept = "the same with contract.max_unreadable_share=0.1", f"a model of the {GOOD} readable images"
    fault.saw("Images", given, exit=said.code, says="the run's figures", kept=kept)


@pytest.mark.system  # a second training; what the gate makes of it, and old splits kept, have quick tests
def test_a_champion_that_knows_none_of_the_classes_is_not_met_and_that_is_said(
    system, shelf, shared_state, capfd, fault
):
    before = newest_split(shared_state).set_index("sha256")["split"]
    for old, new in (("leaf", "blade"), ('stein "$5_$" 早', "pebble")):
        (shelf / old).rename(shelf / new)
    said = train(capfd, system, *LENIENT)
    warning = next(line for line in said.out.splitlines() if "not compared with the champion v1" in line)
    assert said.code == DONE and "version 2 is challenger" in said.out, (said.out, said.err)
    now = newest_split(shared_state).set_index("sha256")["split"]
    assert now.to_dict() == before.to_dict()
    kept = "every image in its split; version 2 is challenger, the champion stays"
    fault.saw("Datasets", "every class renamed while a champion is served", exit=said.code, says=warning, kept=kept)
