"""botocore's protocol vectors, inverted: read what a client sends, write what a client must understand."""

import base64
import datetime
import json
import math
import os
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import pytest
from botocore.awsrequest import HeadersDict
from botocore.compress import maybe_compress_request
from botocore.config import Config
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from penstock.api import HttpRequest
from penstock.core.errors import AwsError
from penstock.wire.model import Model
from penstock.wire.operation import compile_operation

ROOT = Path(__file__).resolve().parents[2]
SUITES = Path(os.environ.get("PENSTOCK_SUITES", ROOT.parent / "shared" / "suites")) / "botocore"

# botocore's own parser does not pass these (its ignore list): our bytes are compared with the vector's own.
ON_THE_WIRE = {
    "BodyWithXmlName",
    "InputAndOutputWithTimestampHeaders",
    "QueryXmlLists",
    "RestJsonHttpPayloadWithUnsetUnion",
    "RestJsonInputAndOutputWithQuotedStringHeaders",
    "RestJsonInputAndOutputWithTimestampHeaders",
    "RestXmlHttpPayloadWithUnsetUnion",
    "XmlLists",
}


def _cases(direction):
    found = []
    for file in sorted((SUITES / direction).glob("*.json")):
        for suite in json.loads(file.read_text()):
            for case in suite["cases"]:
                identity = f"{file.stem}:{case['given']['name']}:{case['id']}"
                found.append(pytest.param(suite, case, id=identity))
    return found or [
        pytest.param({}, {}, marks=pytest.mark.skip(reason=f"no protocol vectors in {SUITES}"))
    ]


def _model(suite, case):
    given = dict(case["given"])
    given.setdefault("http", {"method": "POST", "requestUri": "/"})
    metadata = {"serviceId": "vectors", "endpointPrefix": "vectors", **suite["metadata"]}
    if metadata["protocol"] == "query":
        # As in every model of the protocol; botocore's vectors leave both out.
        metadata.setdefault("xmlNamespace", "https://example.com/")
        if "output" in given:
            given["output"] = {"resultWrapper": f"{given['name']}Result", **given["output"]}
    metadata.setdefault("protocols", [metadata["protocol"]])
    # botocore's vectors name some shapes `error` without saying that they are exceptions.
    shapes = json.loads(json.dumps(suite["shapes"]))
    for error in given.get("errors", ()):
        shapes[error["shape"]]["exception"] = True
    document = {"metadata": metadata, "operations": {given["name"]: given}, "shapes": shapes}
    return Model("vectors", document), document


def _ours(model, reference, value):
    """A vector's value as services see it: blobs are bytes, instants are ms."""
    shape = model.shape(reference)
    if value is None or shape.get("document"):
        return value
    if shape.get("jsonvalue") and shape.get("location") == "header":
        return json.loads(value)  # the vector has the document's text, boto3 the document
    if shape.kind == "structure":
        return {
            name: _ours(model, shape.traits["members"][name], item) for name, item in value.items()
        }
    if shape.kind == "list":
        return [_ours(model, shape.traits["member"], item) for item in value]
    if shape.kind == "map":
        return {key: _ours(model, shape.traits["value"], item) for key, item in value.items()}
    if shape.kind == "blob":
        return value.encode()
    if shape.kind == "timestamp":
        return round(value * 1000)
    if shape.kind in ("float", "double"):
        return float(value)
    return value


def _comparable(value):
    """Values under one notation: NaN equals itself, instants are ms, streams are read."""
    if hasattr(value, "read"):
        value = value.read()
    if isinstance(value, dict):
        return {
            key: _comparable(item)
            for key, item in value.items()
            if key.lower() not in ("responsemetadata", "x-amzn-requestid", "content-type")
        }
    if isinstance(value, (list, tuple)):
        return [_comparable(item) for item in value]
    if isinstance(value, datetime.datetime):
        return round(value.timestamp() * 1000)
    if isinstance(value, float) and not math.isfinite(value):
        return {"nan": b"NaN", "inf": b"Infinity", "-inf": b"-Infinity"}[str(value)]
    return value


def _without_empty(value):
    """Members that carry nothing: REST has no way to tell an empty list or body from a missing one."""
    if not isinstance(value, dict):
        return value
    return {k: v for k, v in value.items() if v not in (None, [], {}, "", b"")}


def _request(suite, case, document):
    protocol = suite["metadata"]["protocol"]
    sent = case["serialized"]
    headers = {name.lower(): value for name, value in sent.get("headers", {}).items()}
    url = urlsplit(sent.get("uri", "/"))
    if "requestcompression" in case["given"]:
        body = _compressed(protocol, case, document, headers["content-encoding"])
    elif protocol == "smithy-rpc-v2-cbor":
        body = base64.b64decode(sent.get("body", ""))
    else:
        body = sent.get("body", "").encode()
    return HttpRequest(sent.get("method", "POST"), url.path, url.query, headers, body)


def _compressed(protocol, case, document, encoding):
    """The body that the vector leaves out because compressors differ: botocore's."""
    operation = ServiceModel(document).operation_model(case["given"]["name"])
    sent = create_serializer(protocol).serialize_to_request(case["params"], operation)
    maybe_compress_request(Config(request_min_compression_size_bytes=0), sent, operation)
    assert encoding.split(", ") == sent["headers"]["Content-Encoding"].split(",")
    assert sent["body"].startswith(b"\x1f\x8b")
    return sent["body"]


@pytest.mark.parametrize(("suite", "case"), _cases("input"))
def test_requests_are_read_as_the_client_meant_them(suite, case):
    """botocore's own serializer is what most clients speak."""
    model, document = _model(suite, case)
    name = case["given"]["name"]
    request = _request(suite, case, document)
    given = document["operations"][name]
    params = compile_operation(model, name, suite["metadata"]["protocol"]).parse(request)
    expected = (
        _ours(model, given["input"], case["params"]) if given.get("input") else case["params"]
    )
    if given.get("input"):
        # A generated token is the client's, not the case's.
        for member, shape in model.members(model.shape(given["input"])):
            if shape.get("idempotencyToken") and member not in expected:
                params.pop(member, None)
            # Smithy: servers put every query parameter into such a map, those with members of their own as well.
            if shape.kind == "map" and shape.get("location") == "querystring":
                many = model.value(shape).kind == "list"
                every = parse_qs(request.query, keep_blank_values=True)
                expected[member] = every if many else {k: v[0] for k, v in every.items()}
    assert _without_empty(_comparable(expected)) == _without_empty(_comparable(params))


@pytest.mark.parametrize(("suite", "case"), _cases("output"))
def test_answers_are_understood_by_the_client(suite, case):
    """What botocore's parser makes of our bytes is what most clients see."""
    model, document = _model(suite, case)
    protocol = suite["metadata"]["protocol"]
    name = case["given"]["name"]
    given = document["operations"][name]
    operation = compile_operation(model, name, protocol)
    real = ServiceModel(document).operation_model(name)
    parser = create_parser(protocol)
    if "errorCode" in case or "error" in case:
        _check_error(operation, model, parser, case, document)
        return
    result = case.get("result", {})
    ours = _ours(model, given["output"], result) if given.get("output") else None
    answer = operation.serialize(ours, "11111111-2222-4333-8444-555555555555")
    if case["id"] in ON_THE_WIRE:
        _check_bytes(answer, case["response"])
        return
    parsed = parser.parse(_as_botocore(answer), real.output_shape)
    expected = _ours(model, given["output"], result) if given.get("output") else {}
    got = _comparable(_bytes(parsed))
    assert _without_empty(_comparable(_bytes(expected))) == _without_empty(got)


def _check_bytes(answer, response):
    assert response["status_code"] == answer.status
    got = {name.lower(): value for name, value in answer.headers}
    for name, value in response.get("headers", {}).items():
        assert value == got.get(name.lower(), str(len(answer.body)))
    wanted = response.get("body", "").encode()
    if wanted:
        assert _tree(ElementTree.fromstring(wanted)) == _tree(ElementTree.fromstring(answer.body))
    else:
        assert answer.body in (b"", b"{}")


def _tree(element):
    """An element without indentation and without what surrounds a result."""
    text = "" if len(element) else element.text or ""
    children = [_tree(child) for child in element if not child.tag.endswith("ResponseMetadata")]
    return element.tag, element.attrib, text, children


def _check_error(operation, model, parser, case, document):
    shape = next((e["shape"] for e in case["given"].get("errors", ()) if "error" in case), None)
    fields = dict(case.get("error", {}))
    message = case.get("errorMessage", "")
    for key in ("message", "Message"):
        fields.pop(key, None)
    if shape:
        fields = _ours(model, {"shape": shape}, fields)
    answer = operation.error(
        AwsError(shape or case["errorCode"], message, fields=fields), "11111111-2222"
    )
    service = ServiceModel(document)
    real = service.shape_for(shape) if shape else None
    parsed = parser.parse(_as_botocore(answer), None)
    if real is not None:
        members = parser.parse(_as_botocore(answer), real)
        assert _without_empty(_comparable(fields)) == {
            name: item
            for name, item in _comparable(members).items()
            if name.lower() != "message" and item
        }
    assert case.get("errorCode", shape) == parsed["Error"]["Code"]
    assert message == (parsed["Error"].get("Message") or "")
    status = case["response"]["status_code"]
    if shape and "httpStatusCode" not in document["shapes"][shape].get("error", {}):
        assert status == answer.status


def _as_botocore(answer):
    return {
        "status_code": answer.status,
        "headers": HeadersDict(dict(answer.headers)),
        "body": answer.body,
    }


def _bytes(value):
    if isinstance(value, dict):
        return {key: _bytes(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_bytes(item) for item in value]
    return value.encode() if isinstance(value, str) else value
