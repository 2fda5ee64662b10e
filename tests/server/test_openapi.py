"""The description is whole, and says of each path what the path does."""

import re

from audiolm.server.openapi import description
from audiolm.server.verbs import VERBS


def references(node):
    """Every `$ref` in a tree."""
    if isinstance(node, dict):
        yield from ([node["$ref"]] if "$ref" in node else [])
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from references(inner)


def test_it_is_served(ask):
    answer = ask().get("/openapi.json")
    assert answer.status_code == 200 and answer.json() == description()


def test_it_is_whole():
    document = description()
    assert document["openapi"] == "3.1.0" and {"title", "version"} <= set(document["info"])
    for path, operations in document["paths"].items():
        for operation in operations.values():
            named = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))
            assert operation["summary"] and all(
                answer["description"] for answer in operation["responses"].values()
            )
    for reference in references(document):
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


def test_each_path_answers_and_each_field_is_taken(ask):
    client = ask()
    document = description()
    for path, operations in document["paths"].items():
        method = next(iter(operations))
        answer = client.request(method, path.format(name="tiny"))
        assert answer.status_code == (200 if method == "get" else 422), path
    for verb in VERBS:
        body = document["paths"][f"/v1/{verb.name}"]["post"]["requestBody"]["content"]
        schema = body["multipart/form-data"]["schema"]
        assert set(schema["properties"]) == {verb.file, *verb.fields.model_fields}
        assert verb.file in schema["required"]
        answers = document["paths"][f"/v1/{verb.name}"]["post"]["responses"]
        assert set(answers) == {"200", "400", "401", "403", "408", "413", "422", "500", "503"}
        assert "Retry-After" in answers["503"]["headers"]
        for name, field in schema["properties"].items():
            assert field.get("description"), f"{verb.name} {name}"
