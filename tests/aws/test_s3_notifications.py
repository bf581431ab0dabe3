"""What a bucket tells queues and functions of its objects."""

import io
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import Server

Aws = Callable[..., Any]


class Told:
    """A bucket, and a queue that hears of it."""

    def __init__(self, aws: Aws, name: str) -> None:
        self.s3, self.sqs = aws("s3"), aws("sqs")
        self.bucket = name.lower()
        self.s3.create_bucket(Bucket=self.bucket)
        self.url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        self.arn = arn_of(self.sqs, self.url)

    def ask(self, *events: str, **more: Any) -> None:
        asked = {"QueueArn": self.arn, "Events": list(events), **more}
        self.s3.put_bucket_notification_configuration(
            Bucket=self.bucket, NotificationConfiguration={"QueueConfigurations": [asked]}
        )
        (test,) = self.bodies()
        assert ["s3:TestEvent", self.bucket] == [test["Event"], test["Bucket"]]

    def bodies(self) -> list[Any]:
        found = []
        while got := self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in got:
                found.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
        return found

    def records(self) -> list[Any]:
        return [record for body in self.bodies() for record in body["Records"]]

    def happened(self) -> list[tuple[str, str]]:
        return [(one["eventName"], one["s3"]["object"]["key"]) for one in self.records()]


def arn_of(sqs: Any, url: str) -> str:
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return str(found["Attributes"]["QueueArn"])


@pytest.fixture
def told(aws: Aws, unique: str) -> Told:
    return Told(aws, unique)


def refused(call: Callable[..., Any], **request: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call(**request)
    error: dict[str, Any] = caught.value.response["Error"]
    return error


def test_record_of_a_new_object(told: Told) -> None:
    """Every member of AWS's record, and the ids of the answer."""
    told.ask("s3:ObjectCreated:*", Id="mine")
    put = told.s3.put_object(Bucket=told.bucket, Key="a b@/é", Body=b"123")
    (record,) = told.records()
    assert ["2.1", "aws:s3", "us-east-1", "ObjectCreated:Put"] == [
        record[name] for name in ("eventVersion", "eventSource", "awsRegion", "eventName")
    ]
    assert record["eventTime"].endswith("Z")
    assert "127.0.0.1" == record["requestParameters"]["sourceIPAddress"]
    answered = put["ResponseMetadata"]["HTTPHeaders"]
    names = ("x-amz-request-id", "x-amz-id-2")
    assert {name: answered[name] for name in names} == record["responseElements"]
    assert ["1.0", "mine"] == [
        record["s3"][name] for name in ("s3SchemaVersion", "configurationId")
    ]
    assert [told.bucket, f"arn:aws:s3:::{told.bucket}"] == [
        record["s3"]["bucket"][name] for name in ("name", "arn")
    ]
    thing = record["s3"]["object"]
    assert {"key": "a+b%40/%C3%A9", "size": 3, "eTag": put["ETag"].strip('"')} == {
        name: thing[name] for name in thing if name != "sequencer"
    }


def test_every_kind_of_change(told: Told) -> None:
    """Puts, copies, uploads in parts, tags and removals, each under its name."""
    told.ask("s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectTagging:*")
    s3, name = told.s3, {"Bucket": told.bucket}
    s3.put_object(**name, Key="k", Body=b"1")
    s3.copy_object(**name, Key="copy", CopySource=f"{told.bucket}/k")
    upload = s3.create_multipart_upload(**name, Key="parts")["UploadId"]
    part = s3.upload_part(**name, Key="parts", UploadId=upload, PartNumber=1, Body=b"1")
    s3.complete_multipart_upload(
        **name,
        Key="parts",
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    s3.put_object_tagging(**name, Key="k", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    s3.delete_object_tagging(**name, Key="k")
    s3.delete_object(**name, Key="k")
    s3.delete_object(**name, Key="never-there")
    gone = [{"Key": key} for key in ("copy", "parts", "never-there-either")]
    s3.delete_objects(**name, Delete={"Objects": gone})
    assert {
        ("ObjectCreated:Put", "k"),
        ("ObjectCreated:Copy", "copy"),
        ("ObjectCreated:CompleteMultipartUpload", "parts"),
        ("ObjectTagging:Put", "k"),
        ("ObjectTagging:Delete", "k"),
        ("ObjectRemoved:Delete", "k"),
        ("ObjectRemoved:Delete", "copy"),
        ("ObjectRemoved:Delete", "parts"),
        ("ObjectRemoved:Delete", "never-there-either"),
    } == set(told.happened())


def test_versions_and_markers(told: Told) -> None:
    """Versions are named; a marker has the ETag of nothing; later changes have higher sequencers."""
    s3, name = told.s3, {"Bucket": told.bucket, "Key": "k"}
    s3.put_bucket_versioning(Bucket=told.bucket, VersioningConfiguration={"Status": "Enabled"})
    told.ask("s3:ObjectCreated:*", "s3:ObjectRemoved:*")
    version = s3.put_object(**name, Body=b"1")["VersionId"]
    marker = s3.delete_object(**name)["VersionId"]
    s3.delete_object(**name, VersionId=version)
    records = sorted(told.records(), key=lambda one: str(one["s3"]["object"]["sequencer"]))
    things = [
        (one["eventName"], one["s3"]["object"]["versionId"], one["s3"]["object"].get("eTag"))
        for one in records
    ]
    assert [
        ("ObjectCreated:Put", version, "c4ca4238a0b923820dcc509a6f75849b"),
        ("ObjectRemoved:DeleteMarkerCreated", marker, "d41d8cd98f00b204e9800998ecf8427e"),
        ("ObjectRemoved:Delete", version, None),
    ] == things


def test_filters(told: Told) -> None:
    """Prefix and suffix both have to fit, names in any case; the key is compared as it is, not encoded."""
    rules = [{"Name": "prefix", "Value": "in box/"}, {"Name": "SUFFIX", "Value": ".png"}]
    told.ask("s3:ObjectCreated:Put", Filter={"Key": {"FilterRules": rules}})
    for key in ("in box/a.png", "in box/a.jpg", "out/a.png"):
        told.s3.put_object(Bucket=told.bucket, Key=key, Body=b"")
    told.s3.delete_object(Bucket=told.bucket, Key="in box/a.png")
    assert [("ObjectCreated:Put", "in+box/a.png")] == told.happened()
    (kept,) = told.s3.get_bucket_notification_configuration(Bucket=told.bucket)[
        "QueueConfigurations"
    ]
    assert ["Prefix", "Suffix"] == [rule["Name"] for rule in kept["Filter"]["Key"]["FilterRules"]]
    assert kept["Id"]


def test_what_cannot_be_configured(told: Told) -> None:
    """AWS's errors for destinations and filters."""

    def put(*queues: dict[str, Any], **more: Any) -> dict[str, Any]:
        return refused(
            told.s3.put_bucket_notification_configuration,
            Bucket=told.bucket,
            NotificationConfiguration={"QueueConfigurations": list(queues)},
            **more,
        )

    events = {"Events": ["s3:ObjectCreated:*"]}
    bad = put({"QueueArn": "nothing", **events}, SkipDestinationValidation=True)
    assert ["InvalidArgument", "The ARN could not be parsed", "Queue", "nothing"] == [
        bad[name] for name in ("Code", "Message", "ArgumentName", "ArgumentValue")
    ]
    missing = put({"QueueArn": f"{told.arn}-2", **events})
    assert [f"{told.arn}-2", "The destination queue does not exist"] == [
        missing["ArgumentName1"],
        missing["ArgumentValue1"],
    ]
    mine = {"QueueArn": told.arn}
    twice = put({**mine, **events}, {**mine, "Events": ["s3:ObjectCreated:Put"]})
    assert twice["Message"].startswith("Configurations overlap.")

    def ending(suffix: str) -> dict[str, Any]:
        return {"Filter": {"Key": {"FilterRules": [{"Name": "suffix", "Value": suffix}]}}}

    both = put({**mine, **events, **ending("g")}, {**mine, **events, **ending("png")})
    assert "ambiguously" in both["Message"]
    odd = {"Filter": {"Key": {"FilterRules": [{"Name": "middle", "Value": "a"}]}}}
    assert "prefix or suffix" in put({**mine, **events, **odd})["Message"]
    told.s3.put_bucket_notification_configuration(
        Bucket=told.bucket,
        NotificationConfiguration={
            "QueueConfigurations": [
                {**mine, **events, **ending(".png")},
                {**mine, **events, **ending(".jpg")},
            ]
        },
    )
    told.s3.put_bucket_notification_configuration(Bucket=told.bucket, NotificationConfiguration={})
    found = told.s3.get_bucket_notification_configuration(Bucket=told.bucket)
    assert "QueueConfigurations" not in found


def test_event_bus_hears_of_everything(aws: Aws, told: Told) -> None:
    """Whoever has a rule on the default bus gets the event in EventBridge's own form, the key as it is."""
    events, s3 = aws("events"), told.s3
    pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": [told.bucket]}}}
    events.put_rule(Name=told.bucket, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=told.bucket, Targets=[{"Id": "queue", "Arn": told.arn}])
    s3.put_bucket_notification_configuration(
        Bucket=told.bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    configured = s3.get_bucket_notification_configuration(Bucket=told.bucket)
    assert {} == configured["EventBridgeConfiguration"]
    put = s3.put_object(Bucket=told.bucket, Key="a b", Body=b"123")
    s3.delete_object(Bucket=told.bucket, Key="a b")
    found: list[Any] = []
    while len(found) < 2:
        got = told.sqs.receive_message(QueueUrl=told.url, WaitTimeSeconds=20)["Messages"]
        for message in got:
            found.append(json.loads(message["Body"]))
            told.sqs.delete_message(QueueUrl=told.url, ReceiptHandle=message["ReceiptHandle"])
    made, gone = sorted(found, key=lambda event: str(event["detail-type"]))
    assert ["Object Created", "PutObject"] == [made["detail-type"], made["detail"]["reason"]]
    assert [f"arn:aws:s3:::{told.bucket}"] == made["resources"]
    thing = made["detail"]["object"]
    assert ["a b", 3, put["ETag"].strip('"')] == [thing[name] for name in ("key", "size", "etag")]
    assert ["Object Deleted", "DeleteObject", "Permanently Deleted"] == [
        gone["detail-type"],
        gone["detail"]["reason"],
        gone["detail"]["deletion-type"],
    ]


def test_topic_hears_of_objects(aws: Aws, told: Told) -> None:
    """A topic gets the record, under S3's subject, and a test event before."""
    sns = aws("sns")
    topic = sns.create_topic(Name=told.bucket)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=told.arn)
    asked = {"TopicArn": topic, "Events": ["s3:ObjectCreated:*"]}
    told.s3.put_bucket_notification_configuration(
        Bucket=told.bucket, NotificationConfiguration={"TopicConfigurations": [asked]}
    )
    told.s3.put_object(Bucket=told.bucket, Key="k", Body=b"")
    found: list[Any] = []
    while len(found) < 2:
        got = told.sqs.receive_message(QueueUrl=told.url, WaitTimeSeconds=20)["Messages"]
        for message in got:
            found.append(json.loads(message["Body"]))
            told.sqs.delete_message(QueueUrl=told.url, ReceiptHandle=message["ReceiptHandle"])
    assert ["Amazon S3 Notification"] * 2 == [one["Subject"] for one in found]
    told_of = [json.loads(one["Message"]) for one in found]
    assert 1 == sum(one.get("Event") == "s3:TestEvent" for one in told_of)
    records = [record for one in told_of for record in one.get("Records", ())]
    assert ["k"] == [record["s3"]["object"]["key"] for record in records]


def test_function_hears_of_objects_after_a_crash(
    launch: Callable[..., Server], connect: Aws, tmp_path: Path
) -> None:
    """A function is invoked for what was put, also when the process ended between put and delivery."""
    server = launch(tmp_path)

    def aws(service: str) -> Any:
        return connect(server.endpoint, service)

    told = Told(aws, "told")
    role = aws("iam").create_role(
        RoleName="r", AssumeRolePolicyDocument='{"Version":"2012-10-17","Statement":[]}'
    )["Role"]["Arn"]
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("main.py", "def handler(event, context):\n    return event\n")
    functions = aws("lambda")
    arn = functions.create_function(
        FunctionName="f",
        Runtime=f"python3.{sys.version_info.minor}",
        Role=role,
        Handler="main.handler",
        Code={"ZipFile": package.getvalue()},
    )["FunctionArn"]
    functions.put_function_event_invoke_config(
        FunctionName="f", DestinationConfig={"OnSuccess": {"Destination": told.arn}}
    )
    request = {
        "Bucket": told.bucket,
        "NotificationConfiguration": {
            "LambdaFunctionConfigurations": [
                {"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"]}
            ]
        },
    }
    error = refused(told.s3.put_bucket_notification_configuration, **request)
    assert f"Not authorized to invoke function [{arn}]" == error["ArgumentValue1"]
    functions.add_permission(
        FunctionName="f",
        StatementId="s3",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn=f"arn:aws:s3:::{told.bucket}",
    )
    told.s3.put_bucket_notification_configuration(**request)
    server.steer("faults", {"faults": [{"arn": arn, "fault": "throttle"}]})
    told.s3.put_object(Bucket=told.bucket, Key="k", Body=b"")
    server.kill()
    server.start()
    server.steer("clock", {"freeze": True})
    server.steer("clock", {"advance": 60})
    (told_of,) = told.bodies()
    event = told_of["responsePayload"]
    assert "k" == event["Records"][0]["s3"]["object"]["key"]


def test_events_that_there_are_not_are_refused(aws: Callable[..., Any], unique: str) -> None:
    """A typo must not end in silence."""
    s3 = aws("s3")
    s3.create_bucket(Bucket=unique)
    queue = f"arn:aws:sqs:us-east-1:000000000000:{unique}"
    for event in ("garbage", "s3:ObjectCreated:Nope"):
        told = {"QueueConfigurations": [{"QueueArn": queue, "Events": [event]}]}
        with pytest.raises(ClientError) as refused:
            s3.put_bucket_notification_configuration(Bucket=unique, NotificationConfiguration=told)
        assert refused.value.response["Error"]["Code"] == "InvalidArgument"
