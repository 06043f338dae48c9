"""A splits table that meets the contract, and a way to spoil one thing in it."""

import numpy as np
import pandas as pd
import pytest

from configs.load import load_system

LABELS = ("early_blight", "healthy", "late_blight")
PER_CLASS = 20
OVERRIDES = {"contract.min_images_per_class": 10, "contract.max_imbalance": 2.0, "contract.max_burnt_share": 0.1}


@pytest.fixture(autouse=True)
def no_dotenv(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def labels():
    return LABELS


@pytest.fixture
def config():
    return load_system("quickstart", OVERRIDES)


@pytest.fixture
def splits() -> pd.DataFrame:
    """60 rows, 20 a class, 14/3/3 in train/val/test, hashes far apart."""
    count = PER_CLASS * len(LABELS)
    hashes = np.random.default_rng(3).integers(0, 2**63, count, dtype=np.uint64)
    return pd.DataFrame(
        {
            "path": [f"images/{label}/{label}_{i:02}.jpg" for label in LABELS for i in range(PER_CLASS)],
            "label": [label for label in LABELS for _ in range(PER_CLASS)],
            "sha256": [f"{i:064x}" for i in range(count)],
            "error": [None] * count,
            "mode": ["RGB"] * count,
            "width_px": [256.0] * count,
            "height_px": [192.0] * count,
            "phash": [f"{value:016x}" for value in hashes],
            "blank": [False] * count,
            "burnt": [False] * count,
            "family": [f"f{i}" for i in range(count)],
            "split": (["train"] * 14 + ["val"] * 3 + ["test"] * 3) * len(LABELS),
        }
    )
