"""Whatever arrives, the answer is a dict or an `AwsError`."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.api import HttpRequest
from penstock.core.errors import AwsError
from penstock.wire import Wire
from penstock.wire.sigv4 import credential_of, verify

WIRE = Wire(["apigateway", "cloudwatch", "dynamodb", "iam", "lambda", "logs", "s3", "sns", "sqs"])
OPERATIONS = [
    ("sqs", "SendMessageBatch", ""),
    ("dynamodb", "PutItem", ""),
    ("logs", "PutLogEvents", ""),
    ("lambda", "CreateFunction", ""),
    ("apigateway", "PutIntegration", ""),
    ("iam", "CreateRole", ""),
    ("s3", "PutBucketLifecycleConfiguration", ""),
    ("s3", "DeleteObjects", ""),
    ("cloudwatch", "PutMetricData", ""),
]
SHAPED = st.one_of(
    st.binary(max_size=200),
    st.text(alphabet='{}[]":,\\ntrue0.1eSMBL', max_size=80).map(str.encode),
    st.text(alphabet="<>/=\"'&;ab!", max_size=80).map(str.encode),
    st.text(alphabet="Aa1.&=member%", max_size=80).map(str.encode),
    st.integers(1, 3000).map(lambda n: b'{"Item":' * n),
    st.integers(1, 600).map(lambda n: b'{"Item":{"a":' + b'{"L":[' * n + b"]}" * n + b"}}"),
    st.integers(1, 3000).map(lambda n: b"\x81" * n),
    st.integers(1, 3000).map(lambda n: b"<a>" * n + b"</a>" * n),
)  # fmt: skip
HEADERS = st.dictionaries(
    st.sampled_from(
        ["authorization", "content-encoding", "content-type", "host", "x-amz-target", "x-amz-content-sha256",
         "x-amz-date", "smithy-protocol", "x-amz-meta-a", "content-length", "if-modified-since"]
    ),
    st.one_of(
        st.text(max_size=30),
        st.sampled_from(
            ["gzip", "aws-chunked", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "AmazonSQS.SendMessage", "b.s3.x",
             "application/x-www-form-urlencoded", "AWS4-HMAC-SHA256 Credential=a/20260101/r/s3/aws4_request, SignedHeaders=host, Signature=x"]
        ),
    ),
)  # fmt: skip


@pytest.mark.parametrize(("service", "name", "_"), OPERATIONS, ids=[o[1] for o in OPERATIONS])
@settings(max_examples=150, deadline=None)
@given(body=SHAPED, headers=HEADERS, path=st.text(max_size=20), query=st.text(max_size=30))
def test_parsers_refuse_in_their_own_words(service, name, _, body, headers, path, query):
    """An exception that is not an `AwsError` would be an internal failure that anybody can cause."""
    operation = WIRE.operation(service, name)
    for route in (
        "/" + path,
        "/a/b/c",
        "/restapis/a/resources/b/methods/c/integration",
        "/2015-03-31/functions",
    ):
        sent = HttpRequest("POST", route, query, headers, body)
        try:
            assert isinstance(operation.parse(sent), dict)
        except AwsError as error:
            assert operation.error(error, "rid").status >= 400


@settings(max_examples=300, deadline=None)
@given(
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "PATCH"]),
    path=st.text(max_size=40),
    query=st.text(max_size=40),
    headers=HEADERS,
    body=SHAPED,
)
def test_routing_and_signatures_refuse_in_their_own_words(method, path, query, headers, body):
    """The first code to see a request sees everything."""
    sent = HttpRequest(method, "/" + path, query, headers, body)
    credential_of(sent)
    try:
        assert WIRE.route(sent).name
    except AwsError as error:
        assert WIRE.error(sent, error, "rid").status >= 400
    try:
        verify(sent, lambda _: "secret", 1_767_225_600_000)
    except AwsError as error:
        assert error.code
