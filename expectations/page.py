"""`contract.html`: one page that needs no network, beside Data Docs, which fetch their styles."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from configs.schema import SystemConfig

if TYPE_CHECKING:
    from expectations.contract import ContractResult

TEMPLATE = Path(__file__).with_name("page.html.j2")


def write_page(result: "ContractResult", config: SystemConfig, tables: Mapping[str, pd.DataFrame], page: Path) -> None:
    """`tables`: rows by name; `classes` and `splits` are shown whole. Everything from the data is escaped."""
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    text = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        result=result,
        system=config.system,
        title=config.title,
        images=len(tables["images"]),
        classes=_per_class(tables),
        splits=tables["splits"].to_dict("records"),
        rules=sorted(result.rules, key=lambda rule: (rule.passed, rule.severity != "critical")),
    )
    page.write_text(text, encoding="utf-8")


def _per_class(tables: Mapping[str, pd.DataFrame]) -> list[dict]:
    """{label, images, train, val, test, width_pct}: what the bar chart of the classes shows."""
    places = dict(zip(tables["class_splits"]["place"], tables["class_splits"]["images"], strict=True))
    largest = max(1, int(tables["classes"]["images"].max()))
    return [
        {
            "label": row["label"],
            "images": row["images"],
            "width_pct": round(100 * row["images"] / largest, 1),
            **{split: places[f"{row['label']} in {split}"] for split in ("train", "val", "test")},
        }
        for row in tables["classes"].to_dict("records")
    ]
