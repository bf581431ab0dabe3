"""Queues, their attributes, permissions, tags and URLs, and what messages may be, as boto3 and plain HTTP see them."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

Aws = Callable[..., Any]
FIFO = {"FifoQueue": "true"}
OTHER = "111122223333"


@pytest.fixture
def sqs(aws: Aws) -> Any:
    """The client."""
    return aws("sqs")


@pytest.fixture
def queue(sqs: Any, unique: str) -> str:
    """The URL of a new standard queue."""
    return str(sqs.create_queue(QueueName=unique)["QueueUrl"])


def error_of(call: Callable[[], Any]) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def attribute(sqs: Any, url: str, name: str) -> str | None:
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])
    value: str | None = answer.get("Attributes", {}).get(name)
    return value


def receive(sqs: Any, url: str, **options: Any) -> list[Any]:
    return list(sqs.receive_message(QueueUrl=url, **options).get("Messages", []))


def post(url: str, host: str | None = None, /, **form: str) -> tuple[int, str]:
    """Send a form and get the status and the XML."""
    headers = {} if host is None else {"Host": host}
    data = urllib.parse.urlencode({"Version": "2012-11-05", **form}).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DelaySeconds", "901"),
        ("MaximumMessageSize", "1023"),
        ("MessageRetentionPeriod", "59"),
        ("ReceiveMessageWaitTimeSeconds", "21"),
        ("VisibilityTimeout", "-1"),
        ("SqsManagedSseEnabled", "maybe"),
        ("Policy", "{"),
        ("Policy", '{"Version":"2012-10-17","Statement":[]}'),
        ("Policy", '{"Statement":[{"Effect":"Allow","Action":"sqs:*","Resource":"*"}]}'),
        ("Policy", '{"Version":"2011-01-01","Statement":[]}'),
    ],
)
def test_values_that_are_not_possible(sqs: Any, queue: str, name: str, value: str) -> None:
    """A value out of its range is refused, and nothing changes."""
    before = attribute(sqs, queue, name)

    assert ("InvalidAttributeValue", f"Invalid value for the parameter {name}.") == error_of(
        lambda: sqs.set_queue_attributes(QueueUrl=queue, Attributes={name: value})
    )
    assert before == attribute(sqs, queue, name)


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ({"maxReceiveCount": 1}, "The required parameter 'deadLetterTargetArn' is missing"),
        (
            {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:d"},
            "The required parameter 'maxReceiveCount' is missing",
        ),
        (
            {
                "deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:d",
                "maxReceiveCount": 3,
                "maxReceiveCounts": 5,
            },
            "Only following attributes are supported: [deadLetterTargetArn, maxReceiveCount].",
        ),
        (
            {"deadLetterTargetArn": "nonsense", "maxReceiveCount": 1},
            "Invalid value for deadLetterTargetArn.",
        ),
        (
            {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:d", "maxReceiveCount": 0},
            "Invalid value for maxReceiveCount: 0, valid values are from 1 to 1000 both inclusive.",
        ),
        (
            {
                "deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:nobody",
                "maxReceiveCount": "5",
            },
            "Dead letter target does not exist.",
        ),
    ],
)
def test_redrive_policies_that_are_not_possible(
    sqs: Any, queue: str, policy: dict[str, Any], reason: str
) -> None:
    """A queue must not lose messages to a dead-letter queue that cannot take them."""
    text = json.dumps(policy)

    assert (
        "InvalidParameterValue",
        f"Value {text} for parameter RedrivePolicy is invalid. Reason: {reason}",
    ) == error_of(
        lambda: sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": text})
    )


def test_dead_letters_stay_of_their_kind(sqs: Any, queue: str, unique: str) -> None:
    """A FIFO queue's dead letters keep their order, so they go to a FIFO queue only."""
    fifo = sqs.create_queue(QueueName=f"{unique}.fifo", Attributes=FIFO)["QueueUrl"]
    policy = {"deadLetterTargetArn": attribute(sqs, queue, "QueueArn"), "maxReceiveCount": 1}

    with pytest.raises(ClientError, match="must be same type of queue as the source"):
        sqs.set_queue_attributes(QueueUrl=fifo, Attributes={"RedrivePolicy": json.dumps(policy)})


def test_dead_letter_sources_by_queue(sqs: Any, queue: str, unique: str) -> None:
    """A dead-letter queue that names its sources takes from those alone, and lists them in pages."""
    sources = [sqs.create_queue(QueueName=f"{unique}-{n}")["QueueUrl"] for n in range(3)]
    allow = {
        "redrivePermission": "byQueue",
        "sourceQueueArns": [attribute(sqs, url, "QueueArn") for url in sources[:2]],
    }
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedriveAllowPolicy": json.dumps(allow)})
    policy = {"deadLetterTargetArn": attribute(sqs, queue, "QueueArn"), "maxReceiveCount": "1"}
    redrive = {"RedrivePolicy": json.dumps(policy)}
    for url in sources[:2]:
        sqs.set_queue_attributes(QueueUrl=url, Attributes=redrive)

    with pytest.raises(ClientError, match="not permitted"):
        sqs.set_queue_attributes(QueueUrl=sources[2], Attributes=redrive)
    page = sqs.list_dead_letter_source_queues(QueueUrl=queue, MaxResults=1)
    rest = sqs.list_dead_letter_source_queues(
        QueueUrl=queue, MaxResults=1, NextToken=page["NextToken"]
    )
    assert sources[:2] == page["queueUrls"] + rest["queueUrls"]
    assert "NextToken" not in rest


def test_redrive_allow_policies_that_are_not_possible(sqs: Any, queue: str) -> None:
    """Sources are named exactly when they are what decides."""
    for policy in (
        {},
        {"redrivePermission": "some"},
        {"redrivePermission": "byQueue"},
        {"redrivePermission": "denyAll", "sourceQueueArns": []},
        {"redrivePermission": "byQueue", "sourceQueueArns": ["nonsense"]},
    ):
        attributes = {"RedriveAllowPolicy": json.dumps(policy)}
        with pytest.raises(ClientError, match="can't create the redrive allow policy"):
            sqs.set_queue_attributes(QueueUrl=queue, Attributes=attributes)


def test_encryption(sqs: Any, queue: str) -> None:
    """SSE-SQS may be switched; keys of KMS are refused by name, and their absence is no error."""
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"SqsManagedSseEnabled": "false"})
    none = {"KmsMasterKeyId": "", "KmsDataKeyReusePeriodSeconds": "300"}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes=none)

    assert "false" == attribute(sqs, queue, "SqsManagedSseEnabled")
    assert None is attribute(sqs, queue, "KmsDataKeyReusePeriodSeconds")
    assert (
        "NotImplemented",
        "Penstock does not implement the attribute KmsMasterKeyId yet.",
    ) == error_of(
        lambda: sqs.set_queue_attributes(
            QueueUrl=queue, Attributes={"KmsMasterKeyId": "alias/aws/sqs"}
        )
    )


def test_flags_in_any_case(sqs: Any, unique: str) -> None:
    """What AWS takes for true is shown as true, and is the same queue."""
    name = f"{unique}.fifo"
    url = sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "True"})["QueueUrl"]

    assert "true" == attribute(sqs, url, "FifoQueue")
    assert url == sqs.create_queue(QueueName=name, Attributes=FIFO)["QueueUrl"]


def test_high_throughput_needs_its_scope(sqs: Any, unique: str) -> None:
    """The limit by group means something only where groups deduplicate for themselves."""
    url = sqs.create_queue(QueueName=f"{unique}.fifo", Attributes=FIFO)["QueueUrl"]
    limit = {"FifoThroughputLimit": "perMessageGroupId"}
    text = "The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup"

    assert ("InvalidAttributeValue", text) == error_of(
        lambda: sqs.set_queue_attributes(QueueUrl=url, Attributes=limit)
    )
    sqs.set_queue_attributes(
        QueueUrl=url, Attributes={"DeduplicationScope": "messageGroup", **limit}
    )
    assert ("InvalidAttributeValue", text) == error_of(
        lambda: sqs.set_queue_attributes(QueueUrl=url, Attributes={"DeduplicationScope": "queue"})
    )


def test_permissions(sqs: Any, queue: str) -> None:
    """Each label is a statement; the policy goes with the last one."""
    arn = attribute(sqs, queue, "QueueArn")
    grant = {"QueueUrl": queue, "Label": "one", "AWSAccountIds": [OTHER]}
    sqs.add_permission(Actions=["SendMessage", "ReceiveMessage"], **grant)

    assert {
        "Version": "2008-10-17",
        "Id": f"{arn}/SQSDefaultPolicy",
        "Statement": [
            {
                "Sid": "one",
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{OTHER}:root"},
                "Action": ["SQS:SendMessage", "SQS:ReceiveMessage"],
                "Resource": arn,
            }
        ],
    } == json.loads(attribute(sqs, queue, "Policy") or "")
    assert (
        "InvalidParameterValue",
        "Value one for parameter Label is invalid. Reason: Already exists.",
    ) == error_of(lambda: sqs.add_permission(Actions=["*"], **grant))
    sqs.remove_permission(QueueUrl=queue, Label="one")
    assert None is attribute(sqs, queue, "Policy")
    assert (
        "InvalidParameterValue",
        "Value one for parameter Label is invalid. Reason: can't find label.",
    ) == error_of(lambda: sqs.remove_permission(QueueUrl=queue, Label="one"))


def test_permissions_that_are_not_possible(sqs: Any, queue: str) -> None:
    """Actions, their number and accounts are checked."""
    grant = {"QueueUrl": queue, "Label": "one", "AWSAccountIds": [OTHER]}

    assert (
        "InvalidParameterValue",
        "Value SQS:Fly for parameter ActionName is invalid. Reason: Please refer to the appropriate"
        " WSDL for a list of valid actions. ",
    ) == error_of(lambda: sqs.add_permission(Actions=["Fly"], **grant))
    assert ("OverLimit", "8 Actions were found, maximum allowed is 7.") == error_of(
        lambda: sqs.add_permission(Actions=["SendMessage"] * 8, **grant)
    )
    assert (
        "InvalidParameterValue",
        "Value nobody for parameter PrincipalId is invalid. Reason: Unable to verify.",
    ) == error_of(
        lambda: sqs.add_permission(Actions=["*"], **{**grant, "AWSAccountIds": ["nobody"]})
    )


def test_policy_is_kept_as_it_was_set(sqs: Any, queue: str) -> None:
    """Tools compare what they set with what they get."""
    policy = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*"}],
        }
    )
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})

    assert policy == attribute(sqs, queue, "Policy")
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": ""})
    assert None is attribute(sqs, queue, "Policy")


def test_tags_have_limits(sqs: Any, queue: str) -> None:
    """Fifty tags, keys up to 128 characters, values up to 256."""
    sqs.tag_queue(QueueUrl=queue, Tags={str(n): "" for n in range(50)})

    for tags in ({"more": ""}, {"k" * 129: ""}, {"1": "v" * 257}, {"aws:x": ""}):
        with pytest.raises(ClientError, match="InvalidParameterValue"):
            sqs.tag_queue(QueueUrl=queue, Tags=tags)
    sqs.untag_queue(QueueUrl=queue, TagKeys=[str(n) for n in range(50)])
    assert "Tags" not in sqs.list_queue_tags(QueueUrl=queue)


def test_pages_of_queues(sqs: Any, unique: str) -> None:
    """Pages go on where they ended, also when the queue of the token is gone; others' tokens are refused."""
    urls = [sqs.create_queue(QueueName=f"{unique}-{n}")["QueueUrl"] for n in range(4)]
    first = sqs.list_queues(QueueNamePrefix=unique, MaxResults=2)
    sqs.delete_queue(QueueUrl=urls[1])
    second = sqs.list_queues(QueueNamePrefix=unique, MaxResults=2, NextToken=first["NextToken"])

    assert urls == first["QueueUrls"] + second["QueueUrls"]
    assert "NextToken" not in second
    assert ("InvalidParameterValue", "Invalid or expired next token.") == error_of(
        lambda: sqs.list_queues(MaxResults=2, NextToken="%")
    )
    assert "QueueUrls" not in sqs.list_queues(QueueNamePrefix=f"{unique}-none")


@pytest.mark.parametrize(
    "host",
    [
        "sqs.us-east-1.amazonaws.com",
        "queue.amazonaws.com",
        "us-east-1.queue.amazonaws.com",
        "penstock.example:8080",
    ],
    ids=["region", "legacy", "region-legacy", "own"],
)
def test_urls_of_any_host(sqs: Any, queue: str, unique: str, host: str, endpoint: str) -> None:
    """A URL names its queue whatever host it was given for, and has the host that the client used."""
    path = urllib.parse.urlsplit(queue).path
    sqs.send_message(QueueUrl=f"https://{host}{path}", MessageBody="x")
    assert 200 == post(queue, host, Action="SendMessage", MessageBody="y")[0]

    status, answer = post(endpoint, host, Action="GetQueueUrl", QueueName=unique)
    assert (200, True) == (status, f"<QueueUrl>http://{host}{path}</QueueUrl>" in answer)
    bodies = [m["Body"] for m in receive(sqs, queue, MaxNumberOfMessages=10)]
    assert ["x", "y"] == sorted(bodies)


def test_path_style_urls_and_bare_names(sqs: Any, queue: str, unique: str, endpoint: str) -> None:
    """Older tools put the region into the path, or give no more than the name."""
    account = queue.split("/")[-2]
    for url in (f"{endpoint}/queue/us-east-1/{account}/{unique}", unique):
        sqs.send_message(QueueUrl=url, MessageBody=url)

    assert 2 == len(receive(sqs, queue, MaxNumberOfMessages=10))


def test_addresses_of_nothing(sqs: Any, endpoint: str) -> None:
    """A URL without a queue is no queue that is missing."""
    assert ("InvalidAddress", f"The address {endpoint}/ is not valid for this endpoint.") == (
        error_of(lambda: sqs.get_queue_attributes(QueueUrl=f"{endpoint}/"))
    )


def test_each_protocol_has_its_own_codes(sqs: Any, queue: str) -> None:
    """JSON names the error's shape, forms the legacy code; the text is the same."""
    with pytest.raises(ClientError) as caught:
        sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=11)
    error = caught.value.response["Error"]
    status, answer = post(queue, Action="ReceiveMessage", MaxNumberOfMessages="11")

    text = "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."
    assert ("InvalidParameterValue", "InvalidParameterValueException", text) == (
        error["Code"],
        error["QueryErrorCode"],
        error["Message"],
    )
    assert 400 == status
    assert f"<Code>InvalidParameterValue</Code><Message>{text}</Message><Detail/>" in answer


def test_system_attributes(aws: Aws, sqs: Any, queue: str) -> None:
    """A consumer learns who sent a message, when, in which trace and for which tenant."""
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"
    sent = sqs.send_message(
        QueueUrl=queue,
        MessageBody="x",
        MessageGroupId="tenant",
        MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": trace}},
    )
    (message,) = receive(sqs, queue, MessageSystemAttributeNames=["All"])
    attributes = message["Attributes"]

    assert "MD5OfMessageSystemAttributes" in sent
    assert (trace, "tenant", "1", aws("sts").get_caller_identity()["UserId"]) == (
        attributes["AWSTraceHeader"],
        attributes["MessageGroupId"],
        attributes["ApproximateReceiveCount"],
        attributes["SenderId"],
    )
    assert attributes["SentTimestamp"] <= attributes["ApproximateFirstReceiveTimestamp"]
    assert {"SequenceNumber", "MessageDeduplicationId"}.isdisjoint(attributes)


def test_message_attributes_that_are_not_possible(sqs: Any, queue: str) -> None:
    """Names, numbers and characters are checked as AWS checks them; letters beyond ASCII are fine."""
    text = {"DataType": "String", "StringValue": "x"}
    sqs.send_message(QueueUrl=queue, MessageBody="x", MessageAttributes={"größe": text})

    for name, value, reason in (
        ("n", {"DataType": "Number", "StringValue": "nan"}, "Can't cast the value of message"),
        ("n", {"DataType": "String", "StringValue": "\x0b"}, "Invalid binary character '#xB'"),
        ("AWS.x", text, "reserved for internal use"),
        ("a..b", text, "reserved for internal use"),
        ("a b", text, "can only contain upper and lower score characters"),
        ("n", {"DataType": "Float", "StringValue": "1"}, "must be prefixedwith"),
    ):
        with pytest.raises(ClientError, match="InvalidParameterValue") as caught:
            sqs.send_message(QueueUrl=queue, MessageBody="x", MessageAttributes={name: value})
        assert reason in caught.value.response["Error"]["Message"]


def test_attributes_by_filter(sqs: Any, queue: str) -> None:
    """A prefix need not end at a period, and a star is all."""
    value = {"DataType": "String", "StringValue": "x"}
    names = ["Hello", "Help.Me", "General"]
    sqs.send_message(QueueUrl=queue, MessageBody="b", MessageAttributes=dict.fromkeys(names, value))

    for wanted, expected in (("Hel.*", names[:2]), ("*", names), (".*", names), ("Foo", [])):
        (message,) = receive(sqs, queue, MessageAttributeNames=[wanted], VisibilityTimeout=0)
        assert sorted(expected) == sorted(message.get("MessageAttributes", {}))


def test_a_megabyte(sqs: Any, queue: str) -> None:
    """Messages and batches have 1 MiB, attributes included; a batch says how much it had."""
    limit = 1_048_576
    attributes = {"a": {"DataType": "String", "StringValue": "x"}}
    sqs.send_message(QueueUrl=queue, MessageBody="x" * limit)
    (message,) = receive(sqs, queue)
    assert limit == len(message["Body"])
    assert (
        "InvalidParameterValue",
        f"One or more parameters are invalid. Reason: Message must be shorter than {limit} bytes.",
    ) == error_of(
        lambda: sqs.send_message(
            QueueUrl=queue, MessageBody="x" * (limit - 7), MessageAttributes=attributes
        )
    )
    entries = [{"Id": str(n), "MessageBody": "x" * (limit // 2 + n)} for n in range(2)]
    assert (
        "AWS.SimpleQueueService.BatchRequestTooLong",
        f"Batch requests cannot be longer than {limit} bytes. You have sent {limit + 1} bytes.",
    ) == error_of(lambda: sqs.send_message_batch(QueueUrl=queue, Entries=entries))


def test_entries_fail_for_themselves(sqs: Any, queue: str) -> None:
    """One bad entry does not keep the others from their work, and is told in the old codes."""
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"MaximumMessageSize": "1024"})
    entries = [
        {"Id": "good", "MessageBody": "x"},
        {"Id": "long", "MessageBody": "x" * 1025},
        {"Id": "late", "MessageBody": "x", "DelaySeconds": 901},
    ]
    answer = sqs.send_message_batch(QueueUrl=queue, Entries=entries)

    assert ["good"] == [entry["Id"] for entry in answer["Successful"]]
    assert [
        (
            "long",
            "InvalidParameterValue",
            True,
            "One or more parameters cannot be validated. Reason: Message must be shorter than 1024 bytes.",
        ),
        (
            "late",
            "InvalidParameterValue",
            True,
            "Value 901 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.",
        ),
    ] == [(f["Id"], f["Code"], f["SenderFault"], f["Message"]) for f in answer["Failed"]]


def test_fifo_batches_need_a_deduplication_id(sqs: Any, unique: str) -> None:
    """An entry without one fails the whole batch: nothing of it is sent."""
    url = sqs.create_queue(QueueName=f"{unique}.fifo", Attributes=FIFO)["QueueUrl"]
    entry = {"MessageBody": "x", "MessageGroupId": "g"}
    entries = [{"Id": "a", "MessageDeduplicationId": "d", **entry}, {"Id": "b", **entry}]

    assert (
        "InvalidParameterValue",
        "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
    ) == error_of(lambda: sqs.send_message_batch(QueueUrl=url, Entries=entries))
    assert [] == receive(sqs, url)


def test_handles_of_a_standard_queue(sqs: Any, queue: str, unique: str) -> None:
    """An old handle moves the visibility and deletes nothing; a handle is its queue's own."""
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    (first,) = receive(sqs, queue, VisibilityTimeout=0)
    (second,) = receive(sqs, queue, VisibilityTimeout=600)
    old = {"QueueUrl": queue, "ReceiptHandle": first["ReceiptHandle"]}
    sqs.delete_message(**old)
    sqs.change_message_visibility(VisibilityTimeout=0, **old)
    (third,) = receive(sqs, queue)

    assert first["MessageId"] == second["MessageId"] == third["MessageId"]
    other = sqs.create_queue(QueueName=f"{unique}-other")["QueueUrl"]
    handle = third["ReceiptHandle"]
    assert (
        "ReceiptHandleIsInvalid",
        f'The input receipt handle "{handle}" is not a valid receipt handle.',
    ) == error_of(lambda: sqs.delete_message(QueueUrl=other, ReceiptHandle=handle))
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=handle)
    assert (
        "is not available for visibility timeout change."
        in (error_of(lambda: sqs.change_message_visibility(VisibilityTimeout=1, **old))[1])
    )


def _get(url: str, query: str = "", accept: str = "*/*") -> tuple[int, str]:
    """A signed GET of a queue's URL, as a browser extension or a script sends it."""
    headers = {
        "Accept": accept,
        "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/sqs/aws4_request,"
        " SignedHeaders=host, Signature=00",
    }
    request = urllib.request.Request(f"{url}{query}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_queue_url_without_an_action(sqs: Any, queue: str) -> None:
    """A bare GET of a queue's URL is no operation, and AWS says so without its usual envelope."""
    status, text = _get(queue)
    assert (status, text.strip()) == (404, "<UnknownOperationException/>")


def test_queue_url_takes_operations_on_queues_only(sqs: Any, queue: str) -> None:
    """ListQueues is not an operation on a queue; a receive is, and its empty result is one tag."""
    status, text = _get(queue, "?Action=ListQueues")
    assert status == 400
    assert "<Code>InvalidAction</Code>" in text
    assert "The action ListQueues is not valid for this endpoint" in text
    assert "<ReceiveMessageResult/>" in _get(queue, "?Action=ReceiveMessage")[1]


def test_json_for_who_asks_for_it(sqs: Any, queue: str) -> None:
    """A form is answered in JSON when nothing else is accepted, errors included."""
    url = queue.rsplit("/", 2)[0]
    listed = json.loads(_get(url, "/?Action=ListQueues", "application/json")[1])
    assert queue in listed["ListQueuesResponse"]["ListQueuesResult"]["QueueUrl"]
    status, text = _get(queue, "?Action=ListQueues", "application/json")
    assert (status, json.loads(text)["Error"]["Code"]) == (400, "InvalidAction")


def test_inline_policy_of_a_template(aws: Callable[..., Any], sqs: Any, unique: str) -> None:
    """A stack can set the policy of one queue, and takes it back when it is deleted."""
    url = sqs.create_queue(QueueName=unique)["QueueUrl"]
    arn = attribute(sqs, url, "QueueArn")
    allow = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
    policy = {"Version": "2012-10-17", "Statement": [allow]}
    resource = {
        "Type": "AWS::SQS::QueueInlinePolicy",
        "Properties": {"Queue": url, "PolicyDocument": policy},
    }
    stacks = aws("cloudformation")
    template = json.dumps({"Resources": {"Policy": resource}})

    def found() -> Any:
        answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])
        return answer.get("Attributes", {}).get("Policy")

    stacks.create_stack(StackName=unique, TemplateBody=template)
    stacks.get_waiter("stack_create_complete").wait(StackName=unique, WaiterConfig={"Delay": 1})
    assert json.loads(found()) == policy
    stacks.delete_stack(StackName=unique)
    stacks.get_waiter("stack_delete_complete").wait(StackName=unique, WaiterConfig={"Delay": 1})
    assert found() is None
