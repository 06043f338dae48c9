"""Checks a data set's contract with Great Expectations: one suite a table, Data Docs, and a verdict by severity."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from configs.contract import DEFAULT_SEVERITY, Severity
from configs.schema import SystemConfig
from expectations.boxes import box_tables
from expectations.classes import classes_table
from expectations.families import families_table, parts_tables
from expectations.images import images_table
from expectations.rules import ColumnRule, Table
from expectations.splits import class_splits_table, splits_table
from vision.settings import Section
from vision.verdict import Verdict

SHOWN = 20
KINDS = 6
SITE = "contract"


class RuleResult(Section):
    """One rule. `failing`: up to 20 names (paths, labels, splits), `details` beside each; `failing_count`: all of them.

    A share rule may pass with failing rows.
    """

    name: str
    table: str
    severity: Severity
    passed: bool
    observed: str
    allowed: str
    failing: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    failing_count: int = 0


class ContractResult(Section):
    """`ran` of `expected` rules were evaluated; fewer is a failure whatever the severities. `docs`, `page`: HTML."""

    verdict: Verdict
    rules: tuple[RuleResult, ...]
    ran: int
    expected: int
    docs: Path
    page: Path


def build_tables(splits: pd.DataFrame, config: SystemConfig, labels: Sequence[str]) -> tuple[Table, ...]:
    """Every table of the contract with its rules; thresholds are those of `config`."""
    contract, split = config.contract, config.data.split
    return (
        images_table(splits, contract, labels),
        classes_table(splits, contract, labels),
        splits_table(splits, contract, split),
        class_splits_table(splits, labels),
        families_table(splits, split.near_duplicate_bits),
        *parts_tables(splits),
        *box_tables(splits, contract, labels),
    )


def check_contract(splits: pd.DataFrame, config: SystemConfig, labels: Sequence[str], docs: Path) -> ContractResult:
    """`splits`: the manifest with `family` and `split`. Writes Data Docs and `contract.html`, both into `docs`."""
    from expectations.page import write_page

    severity = {**DEFAULT_SEVERITY, **config.contract.severity}
    tables = build_tables(splits, config, labels)
    docs.mkdir(parents=True, exist_ok=True)
    raw = _validate(tables, severity, docs)
    rules = tuple(
        _rule_result(table, rule, severity.get(rule.name, "critical"), raw.get(rule.name))
        for table in tables
        for rule in table.rules
    )
    expected = len(rules)
    ran = sum(_evaluated(raw.get(rule.name)) for rule in rules)
    result = ContractResult(
        verdict=_verdict(rules, ran, expected),
        rules=rules,
        ran=ran,
        expected=expected,
        docs=docs / "index.html",
        page=docs / "contract.html",
    )
    write_page(result, config, {table.name: table.rows for table in tables}, docs / "contract.html")
    return result


def _validate(tables: Sequence[Table], severity: dict[str, Severity], docs: Path) -> dict[str, dict[str, Any]]:
    """Rule name -> Great Expectations' result of it, as plain JSON. A rule that it lost on the way is absent."""
    # Before the import, which reads it: no telemetry, whichever process this is.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx

    context = _context(docs)
    source = context.data_sources.add_pandas("dataset")
    found: dict[str, dict[str, Any]] = {}
    for table in tables:
        batch = source.add_dataframe_asset(table.name).add_batch_definition_whole_dataframe("all")
        suite = context.suites.add(_suite(table, severity))
        definition = gx.ValidationDefinition(name=table.name, data=batch, suite=suite)
        result = context.validation_definitions.add(definition).run(
            batch_parameters={"dataframe": table.rows},
            result_format={
                "result_format": "SUMMARY",
                "partial_unexpected_count": SHOWN,
                "unexpected_index_column_names": list(table.key),
            },
        )
        found |= {one.expectation_config.meta["rule"]: one.to_json_dict() for one in result.results}
    context.build_data_docs(site_names=[SITE])
    return found


def _context(docs: Path):
    """A context in memory whose only site lies in `docs`; the one it comes with goes to a temporary folder."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    context.delete_data_docs_site("local_site")
    store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.absolute())}
    index = {"class_name": "DefaultSiteIndexBuilder"}
    site = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": store,
        "site_index_builder": index,
    }
    context.add_data_docs_site(SITE, site)
    return context


def _suite(table: Table, severity: dict[str, Severity]):
    import great_expectations as gx
    import great_expectations.expectations as gxe

    expectations = [
        getattr(gxe, rule.expectation)(
            column=rule.column,
            severity=severity.get(rule.name, "critical"),
            meta={"rule": rule.name},
            **rule.arguments,
        )
        for rule in table.rules
    ]
    return gx.ExpectationSuite(name=table.name, expectations=expectations)


def _evaluated(raw: dict[str, Any] | None) -> bool:
    return raw is not None and raw["exception_info"].get("raised_exception") is False


def _rule_result(table: Table, rule: ColumnRule, severity: Severity, raw: dict[str, Any] | None) -> RuleResult:
    known = {"name": rule.name, "table": table.name, "severity": severity, "allowed": rule.allowed}
    if not _evaluated(raw):
        return RuleResult(**known, passed=False, observed="was not evaluated" if raw is None else _exception(raw))
    found = raw["result"]
    rows = found["partial_unexpected_index_list"]
    return RuleResult(
        **known,
        passed=raw["success"],
        observed=_observed(table, rule, found["unexpected_count"]),
        failing=tuple(str(row[table.key[0]]) for row in rows),
        details=tuple(_details(row, (*table.key[1:], rule.column)) for row in rows),
        failing_count=found["unexpected_count"],
    )


def _details(row: dict[str, Any], columns: Sequence[str]) -> str:
    """The columns beside a failing row's name; a bool only says that it failed."""
    return ", ".join(f"{column} {_short(row[column])}" for column in columns if not isinstance(row[column], bool))


def _observed(table: Table, rule: ColumnRule, failing: int) -> str:
    values = table.rows[rule.column]
    text = f"{failing} of {len(values)} {table.noun} outside"
    if rule.expectation == "ExpectColumnValuesToBeBetween" and values.notna().any():
        text += f"; {rule.column} from {_short(values.min())} to {_short(values.max())}"
    if rule.expectation == "ExpectColumnValuesToBeNull" and values.notna().any():
        kinds = values.dropna().str.partition(":")[0].value_counts(sort=True).sort_index(kind="stable")
        text += f": {', '.join(f'{count} {kind}' for kind, count in kinds.head(KINDS).items())}"
    return text


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _exception(raw: dict[str, Any]) -> str:
    """GX nests the exceptions of a rule by the id of the metric that failed."""
    causes = [cause.get("exception_message") for cause in raw["exception_info"].values() if isinstance(cause, dict)]
    return f"could not be evaluated: {'; '.join(filter(None, causes)) or 'no reason given'}"


def _verdict(rules: Sequence[RuleResult], ran: int, expected: int) -> Verdict:
    """GX calls any failure a failure; here a warning is not. A rule that did not run is never only a warning."""
    sentences = {"critical": [], "warning": []}
    for rule in rules:
        if not rule.passed:
            names = f": {', '.join(rule.failing[:3])}{' …' if rule.failing_count > 3 else ''}" if rule.failing else ""
            sentences[rule.severity].append(f"{rule.name}: {rule.observed}, allowed {rule.allowed}{names}")
    if ran != expected:
        sentences["critical"].insert(0, f"only {ran} of {expected} rules were evaluated")
    reasons = sentences["critical"] or [f"{expected} of {expected} rules ran, none critical failed"]
    return Verdict(passed=not sentences["critical"], reasons=tuple(reasons), warnings=tuple(sentences["warning"]))
