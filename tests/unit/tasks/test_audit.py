from tasks.audit import read_audit, write_audit


def test_rows_come_back_in_order_and_by_system(tmp_path):
    url = f"sqlite:///{tmp_path / 'state.db'}"
    row = {
        "system": "leaf",
        "what": "alias:champion",
        "version": 1,
        "package_sha": "a" * 64,
        "who": "t",
        "why": "first",
    }
    assert write_audit(url, row) == 1
    write_audit(url, row | {"system": "other"})
    assert write_audit(url, row | {"version": 2, "why": "better"}) == 3
    assert [(r["version"], r["why"]) for r in read_audit(url, "leaf")] == [(1, "first"), (2, "better")]
    assert all(r["at"].endswith("+00:00") for r in read_audit(url, "leaf"))
