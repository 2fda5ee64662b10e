"""/openapi.json: what the paths take and answer, made of the same fields that check requests."""

from typing import Any

from audiolm._version import __version__
from audiolm.server.verbs import VERBS, Verb

_ERROR = {
    "description": "What is wrong, in one line.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}
_BUSY = _ERROR | {
    "headers": {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
}
_ANSWERS = dict.fromkeys(("400", "401", "403", "408", "413", "422", "500"), _ERROR)


def description() -> dict[str, Any]:
    """The paths of this server as OpenAPI 3.1."""
    paths: dict[str, Any] = {
        "/v1/health": {"get": _read("Whether the server is there.", "Health")},
        "/v1/models": {"get": _read("What each model can do.", "Models")},
        "/v1/models/{name}/prompt": {
            "get": {
                "summary": "A recording to try a model with.",
                "parameters": [
                    {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
                ],
                "responses": {
                    "200": {"description": "A recording.", "content": {"audio/*": {}}},
                    "404": _ERROR,
                },
            }
        },
    }
    paths |= {f"/v1/{verb.name}": {"post": _post(verb)} for verb in VERBS}
    anything = {"type": "object", "additionalProperties": True}
    return {
        "openapi": "3.1.0",
        "info": {"title": "AudioLM", "version": __version__},
        "paths": paths,
        "security": [{}, {"token": []}],
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {"error": {"type": "string"}},
                },
                "Health": {
                    "type": "object",
                    "required": ["status", "version", "models"],
                    "properties": {
                        "status": {"const": "ok"},
                        "version": {"type": "string"},
                        "models": {"type": "array", "items": {"type": "string"}},
                        "token": {"type": "boolean", "description": "Whether one is asked for."},
                    },
                },
                "Models": anything,
                "Detection": anything,
            },
        },
    }


def _read(summary: str, schema: str) -> dict[str, Any]:
    return {"summary": summary, "responses": {"200": _json(schema)}}


def _json(schema: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": "JSON.", "content": content}


def _post(verb: Verb) -> dict[str, Any]:
    schema: dict[str, Any] = verb.fields.model_json_schema()
    file = {"type": "string", "format": "binary", "description": "A recording, a file."}
    schema["properties"] = {verb.file: file, **schema.get("properties", {})}
    schema["required"] = [verb.file, *schema.get("required", [])]
    sound: dict[str, Any] = {
        "description": "Sound, in chunks as it is made.",
        "content": {"audio/wav": {}, "audio/pcm": {}},
        "headers": {
            "X-Prompt-Samples": {
                "description": "Samples at the beginning that are the prompt's rendering.",
                "schema": {"type": "integer"},
            }
        },
    }
    answer = _json("Detection") if verb.make is None else sound
    return {
        "summary": verb.says,
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}},
        "responses": {"200": answer, **_ANSWERS, "503": _BUSY},
    }
