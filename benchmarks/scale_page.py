"""docs/scale.md: the words around the arithmetic of `benchmarks.scale`."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

WORDS = Path(__file__).with_name("scale.md.in")


def render(inputs: Mapping[str, Any], values: Mapping[str, float], parts: Mapping[str, Sequence[Any]]) -> str:
    tables = {f"{part}_steps": "\n".join(_steps(lines, values)) for part, lines in parts.items()}
    return WORDS.read_text().format(**values, **tables, inputs_table="\n".join(_inputs(inputs)))


def _steps(lines: Sequence[Any], values: Mapping[str, float]) -> Iterator[str]:
    yield "| | arithmetic | |"
    yield "|---|---|--:|"
    for line in lines:
        yield f"| {line.told} | `{line.name} = {line.formula}` | {shown(values[line.name])} |"


def _inputs(inputs: Mapping[str, Any]) -> Iterator[str]:
    yield "| input | value | what | from |"
    yield "|---|--:|---|---|"
    for name, value in inputs["measured"].items():
        yield f"| `{name}` | {shown(value)} | {MEASURED[name]} | measured: `benchmarks/scale_measure.py` |"
    for name, one in inputs["quoted"].items():
        yield f"| `{name}` | {shown(one['value'])} | {one['told']} | `{one['page']}` |"
    for name, one in inputs["seen"].items():
        yield f"| `{name}` | {shown(one['value'])} | {one['told']} | {one['from']} |"
    for name, one in inputs["assumed"].items():
        yield f"| `{name}` | {shown(one['value'])} | {one['told']} | assumed |"


def shown(value: float) -> str:
    """Three significant digits, at least all before the point."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _run(what: str) -> dict[str, str]:
    return {
        f"{what}_run_cpu_s": f"CPU-s of one run of the {what} flow",
        f"{what}_run_memory_mib": "MiB of memory of it",
        f"{what}_run_seconds": "seconds that it takes",
        f"{what}_run_server_cpu_s": "CPU-s of the Prefect server for it",
    }


MEASURED = {
    "record_described_bytes": "bytes of a record with image features",
    "record_plain_bytes": "bytes of one without",
    "record_sealed_share": "bytes of parquet a byte of log",
    "seal_memory_share": "bytes of memory that sealing takes a byte of log",
    "seal_cpu_us": "CPU-µs to seal a record",
    "families_linear_us": "CPU-µs a hash, near-duplicates: what grows with their number",
    "families_quadratic_ps": "CPU-ps a pair: what grows with its square",
    **_run("release"),
    **_run("monitor"),
    "run_database_kb": "kB that a run of either leaves in Prefect's database",
    "report_mb": "MB that MLflow gets of a window: its page, Evidently's, the verdict",
}
