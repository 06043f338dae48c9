"""/openapi.json says what the service really does: every route, every answer, every example."""

import re

import jsonschema
import pytest

from bentos.access.scopes import OPEN, SCOPES, scope_of
from bentos.http.app import create_app
from vision.export.golden import golden_files

NOT_DESCRIBED = {"/", "/docs", "/docs/{name}", "/openapi.json", "/web/{name}", "/favicon.ico", "/healthz"}
BENTOS_OWN = {"/livez", "/readyz"}


@pytest.fixture(scope="module")
def described(worker) -> dict:
    return worker.client.get("/openapi.json").json()


def check(described: dict, value, schema: dict) -> None:
    resolved = {**schema, "components": described["components"]}
    jsonschema.Draft202012Validator(resolved, format_checker=jsonschema.FormatChecker()).validate(value)


def check_answer(described: dict, response, operation: dict) -> None:
    answer = operation["responses"][str(response.status_code)]
    content_type = response.headers["content-type"].partition(";")[0]
    assert content_type in answer["content"], content_type
    if content_type == "application/json":
        check(described, response.json(), answer["content"][content_type]["schema"])


def operations(described: dict):
    for path, item in described["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def test_every_route_is_described_and_nothing_else(described):
    routes = {route.path for route in create_app().routes}
    assert (routes - NOT_DESCRIBED) | BENTOS_OWN == set(described["paths"])


def test_schemas_are_schemas_and_no_reference_leads_nowhere(described):
    schemas = described["components"]["schemas"]
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    wanted = set(re.findall(r"#/components/schemas/(\w+)", str(described)))
    assert wanted <= set(schemas)
    assert described["openapi"] == "3.1.0"


def test_every_example_fits_its_schema(described):
    seen = 0
    for _, _, operation in operations(described):
        contents = [answer.get("content", {}) for answer in operation["responses"].values()]
        contents.append(operation.get("requestBody", {}).get("content", {}))
        for content in contents:
            for media in content.values():
                if "example" in media:
                    check(described, media["example"], media["schema"])
                    seen += 1
        for parameter in operation["parameters"]:
            if "example" in parameter:
                check(described, parameter["example"], parameter["schema"])
    assert seen > 20


def test_what_is_open_and_what_needs_which_scope_is_said_as_it_is(described):
    for path, _, operation in operations(described):
        scope = scope_of(path)
        assert ("security" in operation) == (scope != OPEN), path
        assert operation.get("x-scope", OPEN) == scope
    assert set(SCOPES) - NOT_DESCRIBED <= set(described["paths"])


def test_real_answers_are_as_described(worker, draw, described):
    paths, client = described["paths"], worker.client
    predict, explain = paths["/predict"]["post"], paths["/explain"]["post"]
    one = client.post("/predict?top_k=2", files={"file": draw("moss", 1)})
    several = client.post("/predict", files=[("file", draw("slate", 1)), ("file", b"nothing")])
    explained = client.post("/predict?explain=true", content=draw("moss", 1))
    assert explained.json()["heatmap_png"]
    for response in (one, several, explained):
        assert response.status_code == 200
        check_answer(described, response, predict)
    for response in (
        client.post("/predict", content=b"text"),
        client.post("/predict", content=b""),
        client.post("/predict?top_k=0", content=b"text"),
        client.post("/predict", json={}),
        client.get("/predict"),
    ):
        assert response.status_code >= 400
        check_answer(described, response, predict)
    check_answer(described, client.post("/explain", content=draw("moss", 1)), explain)
    prediction_id = one.json()["prediction_id"]
    said = client.post("/feedback", json={"id": prediction_id, "label": "moss"})
    assert said.status_code == 200
    check_answer(described, said, paths["/feedback"]["post"])
    check_answer(described, client.post("/feedback", json={"id": "x", "label": "moss"}), paths["/feedback"]["post"])
    for asked, status in ((prediction_id, 200), ("x", 404)):
        passport = client.get(f"/predictions/{asked}/lineage")
        assert passport.status_code == status
        check_answer(described, passport, paths["/predictions/{id}/lineage"]["get"])
    for path in ("/health", "/model/version", "/release"):
        check_answer(described, client.get(path), paths[path]["get"])
    assert client.get("/metrics").status_code == 200


def test_the_example_is_an_answer_of_the_model_that_serves(worker, described, made):
    example = described["paths"]["/predict"]["post"]["responses"]["200"]["content"]["application/json"]["example"]
    answer = worker.client.post("/predict", content=golden_files(made.package.folder)[0].read_bytes()).json()
    assert set(answer) == set(example)
    assert answer["label"] == example["label"]
    assert answer["confidence"] == pytest.approx(example["confidence"], abs=0.01)
    assert example["model"]["package_sha"] == made.package.package_sha


def test_the_page_of_the_docs_is_whole_without_a_network(worker):
    client = worker.client
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    for link in re.findall(r'(?:src|href)="(docs/[^"]+)"', page.text):
        found = client.get(f"/{link}")
        assert found.status_code == 200, link
        assert len(found.content) > 50
    assert "//" not in re.sub(r"<!doctype[^>]*>", "", page.text)
    assert client.get("/docs/..%2f..%2fcontext.py").status_code == 404
    assert client.get("/docs/nothing").status_code == 404
