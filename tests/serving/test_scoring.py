"""Batch scoring without Ray: what is listed, what a chunk's rows say, and what a folder of answers refuses."""

import hashlib
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd
import pytest

from tasks.packaging.score import Batch, ScoreChunk, speed
from vision.errors import MachineError, UserError
from vision.export.golden import golden_files, golden_outputs
from vision.kinds import answering
from vision.scoring import ledger
from vision.scoring.inputs import list_inputs, reader
from vision.scoring.scorer import SCHEMA, Scorer


@pytest.fixture
def folder(tmp_path, draw):
    root = tmp_path / "photos"
    for number in range(5):
        path = root / ("deep/er" if number % 2 else ".") / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(draw("moss", number))
    (root / "notes.txt").write_text("no image")
    return root


def test_a_folder_is_listed_whole_and_sorted(folder):
    names = list_inputs(str(folder))
    assert len(names) == 5 and names == sorted(names) and all(Path(name).is_absolute() for name in names)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_manifest_names_images_relative_to_itself_and_each_once(folder, ending):
    table = pd.DataFrame({"path": ["0.jpg", "deep/er/1.jpg", "0.jpg"], "note": "x"})
    path = folder / f"list.{ending}"
    getattr(table, f"to_{ending}")(path, index=False)
    assert list_inputs(str(path)) == [str(folder / "0.jpg"), str(folder / "deep/er/1.jpg")]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("nowhere", "is not there"),
        ("photos/notes.txt", "no folder of images and no table"),
        ("list.csv", "has the columns file"),
        ("gone.csv", "is not there"),
        ("azure://bucket/x", "FROM=azure://"),
        ("s3://user:word@bucket/x", "carries credentials"),
    ],
)
def test_a_source_that_cannot_be_used_is_refused_in_one_message(folder, source, says):
    (folder.parent / "list.csv").write_text("file\na.jpg\n")
    with pytest.raises(UserError, match=says) as error:
        list_inputs(source if "://" in source else str(folder.parent / source))
    assert "word" not in str(error.value).replace("passwords", "")


class Bucket(BaseHTTPRequestHandler):
    """As much of S3 as listing and reading takes: ListObjectsV2, HEAD and GET of an object."""

    objects: dict[str, bytes] = {}

    def do_GET(self):
        address = urlsplit(self.path)
        if "list-type" in parse_qs(address.query):
            inside = "".join(
                f"<Contents><Key>{key}</Key><Size>{len(data)}</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                f"</Contents>"
                for key, data in sorted(self.objects.items())
            )
            return self.answer(
                f"<ListBucketResult><IsTruncated>false</IsTruncated>{inside}</ListBucketResult>".encode()
            )
        return self.answer(self.objects.get(address.path.split("/", 2)[2]))

    do_HEAD = do_GET

    def answer(self, data):
        self.send_response(404 if data is None else 200)
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data or b"")

    def log_message(self, *_):
        pass


def test_a_bucket_is_listed_and_read(folder, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    Bucket.objects = {f"in/{path.name}": path.read_bytes() for path in folder.rglob("*.jpg")} | {"in/a.txt": b"x"}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        query = f"?scheme=http&endpoint_override=127.0.0.1:{server.server_port}&region=here"
        names = list_inputs(f"s3://leaves/in{query}")
        assert [name.partition("?")[0] for name in names] == [f"s3://leaves/in/{number}.jpg" for number in range(5)]
        assert reader()(names[3]) == Bucket.objects["in/3.jpg"]
    finally:
        server.shutdown()


@pytest.fixture(scope="module")
def scorer(made):
    return Scorer(made.package, reader(), "float32")


def test_rows_say_what_the_package_says_of_its_golden_images(made, scorer):
    names = [str(path) for path in golden_files(made.package.folder)]
    rows, files = scorer.score(names)
    found, spec = rows.to_pandas(), made.package.spec
    wanted = answering(spec.kind).answers(golden_outputs(made.package.folder), spec, [(0, 0)] * len(names), top_k=1)
    assert found["answer_label"].tolist() == [answer["label"] for answer in wanted]
    assert np.allclose(found["confidence"], [answer["confidence"] for answer in wanted], atol=1e-4)
    assert found["sha256"].tolist() == [hashlib.sha256(data).hexdigest() for data in files]
    assert set(found["package_sha"]) == {made.package.package_sha} and set(found["precision"]) == {"float32"}
    assert json.loads(found["answer"][0])["label"] == wanted[0]["label"]


def test_a_file_that_is_no_image_or_gone_is_a_row_and_the_others_are_answered(folder, scorer):
    (folder / "broken.jpg").write_bytes((folder / "0.jpg").read_bytes()[:200])
    (folder / "empty.png").write_bytes(b"")
    names = [*list_inputs(str(folder)), str(folder / "gone.jpg")]
    rows = scorer.score(names)[0].to_pandas().set_index("path")
    assert rows.index.tolist() == names
    wrong = {Path(name).name: error for name, error in rows["error"].dropna().items()}
    assert sorted(wrong) == ["broken.jpg", "empty.png", "gone.jpg"] and "unreadable" in wrong["gone.jpg"]
    assert rows["answer_label"].notna().sum() == 5
    assert rows["sha256"].isna().sum() == 1  # bytes that are no image have a hash, too


def test_a_name_that_is_no_utf_8_is_a_mistake_that_names_it(folder):
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.jpg")).write_bytes(b"x")
    with pytest.raises(UserError, match=r"xe9\.jpg' is no UTF-8"):
        list_inputs(str(folder))


def asked(names, **changes):
    plain = {"system": "tiny", "package_sha": "a" * 64, "precision": "auto", "names": names, "chunk_images": 2}
    return ledger.ask(**{**plain, **changes})


def rows_of(names):
    import pyarrow as pa

    return pa.Table.from_pylist([{"path": name, "answer_label": "moss"} for name in names], schema=SCHEMA)


def test_a_folder_of_answers_goes_on_with_the_chunks_that_are_missing(tmp_path):
    names = [f"/x/{number}.jpg" for number in range(5)]
    batch = asked(names)
    assert ledger.open_ledger(tmp_path, batch, names) == [0, 1, 2]
    ledger.write_chunk(tmp_path, 1, rows_of(names[2:4]))
    (tmp_path / "scores" / ".00000002.77.partial").write_bytes(b"half")
    assert ledger.open_ledger(tmp_path, batch, names) == [0, 2]
    assert not list((tmp_path / "scores").glob(".*"))
    for chunk in (0, 2):
        ledger.write_chunk(tmp_path, chunk, rows_of(ledger.chunk_names(names, batch, chunk)))
    ledger.write_chunk(tmp_path, 1, rows_of(names[:2]))  # a straggler of the killed run comes too late
    assert ledger.count_rows(tmp_path, batch) == {"images": 5, "unreadable": 0, "answers": {"moss": 5}}
    assert list_inputs(str(tmp_path / "inputs.csv")) == names


def test_strange_names_stand_in_the_list_as_they_are(tmp_path):
    names = sorted(f"/x/{name}.jpg" for name in ("a\r", "b\n", "c\r\n", '"d"', "e,f", " g ", "NA", "h\u2028", "moos ü"))
    ledger.open_ledger(tmp_path, asked(names), names)
    assert list_inputs(str(tmp_path / "inputs.csv")) == names


def test_an_image_that_is_missing_from_the_answers_or_there_twice_is_told(tmp_path):
    names = [f"/x/{number}.jpg" for number in range(4)]
    batch = asked(names)
    ledger.open_ledger(tmp_path, batch, names)
    ledger.write_chunk(tmp_path, 0, rows_of(names[:2]))
    ledger.write_chunk(tmp_path, 1, rows_of(names[1:3]))
    with pytest.raises(MachineError, match="4 rows of 3 images"):
        ledger.count_rows(tmp_path, batch)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"package_sha": "b" * 64}, "package aaaaaaaaaaaa, now bbbbbbbbbbbb"),
        ({"names": ["/x/0.jpg"]}, "list of images"),
        ({"precision": "float32"}, "precision auto, now float32"),
    ],
)
def test_another_batch_is_refused_in_a_folder_that_holds_one(tmp_path, changes, says):
    names = ["/x/0.jpg", "/x/1.jpg"]
    ledger.open_ledger(tmp_path, asked(names), names)
    with pytest.raises(UserError, match=says):
        ledger.open_ledger(tmp_path, asked(**{"names": names, **changes}), names)


def work_on(made, names, folder, **changes):
    batch = ledger.ask("tiny", made.package.package_sha, "float32", names, 2)
    ledger.open_ledger(folder, batch, names)
    worker = ScoreChunk(Batch(made.package.model_copy(update=changes), folder, batch, True, 50.0))
    return worker(pd.DataFrame({"chunk": range(batch.chunks)})).to_dict("records")


def test_a_worker_writes_its_chunks_and_says_how_long_they_took(made, folder, tmp_path):
    rows = work_on(made, list_inputs(str(folder)), tmp_path / "to")
    assert [(row["chunk"], row["images"], row["mistake"]) for row in rows] == [(0, 2, ""), (1, 2, ""), (2, 1, "")]
    assert all(row["start"] < row["end"] <= row["back"] for row in rows)
    assert len(pd.read_parquet(ledger.chunk_file(tmp_path / "to", 2))) == 1


def test_an_engine_that_fails_its_golden_images_scores_nothing_and_says_so(made, folder, tmp_path):
    other = made.package.spec.input.model_copy(update={"resize_px": 36})
    spec = made.package.spec.model_copy(update={"input": other})
    rows = work_on(made, list_inputs(str(folder)), tmp_path / "to", spec=spec)
    assert "fails its golden images here" in rows[0]["mistake"] and json.loads(rows[0]["mistake"])[0] == "UserError"
    assert not list((tmp_path / "to" / "scores").iterdir())


def chunk(worker, start, end, images=256, limit=0.0, back=None):
    return {"worker": worker, "start": start, "end": end, "back": back or end, "images": images,
            "limit": limit, "sampled": images}  # fmt: skip


def test_the_share_of_the_raw_limit_counts_gaps_and_leaves_out_its_own_measuring():
    one = [chunk("a", 0, 10, back=15, limit=32.0), chunk("a", 16, 26, limit=32.0)]
    found = speed([*one, *[{**row, "worker": "b"} for row in one]])
    assert found.images_per_s == pytest.approx(2 * 512 / 21)  # 26 s less 5 s of measuring
    assert found.share_of_raw == pytest.approx(found.images_per_s / 64)
    assert speed([chunk("a", 0, 10, images=100)]).share_of_raw is None
    assert speed([]).images_per_s is None
