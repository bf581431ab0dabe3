"""Stops after every step, of the types whose services have their own ways to say that something is there."""

from typing import Any

from tests.aws.test_cloudformation_restart import RESOURCES, Site, on_site

FUNCTION = {"FunctionName": {"Ref": "Function"}}
ANYBODY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "*"}],
}
PROPERTIES: dict[str, tuple[str, dict[str, Any]]] = {
    "Version": ("Lambda::Version", FUNCTION),
    "Alias": (
        "Lambda::Alias",
        {**FUNCTION, "FunctionVersion": {"Fn::GetAtt": "Version.Version"}, "Name": "live"},
    ),
    "Invoke": (
        "Lambda::EventInvokeConfig",
        {**FUNCTION, "Qualifier": "$LATEST", "MaximumRetryAttempts": 0},
    ),
    "Url": ("Lambda::Url", {"TargetFunctionArn": {"Ref": "Function"}, "AuthType": "NONE"}),
    "Topic": ("SNS::Topic", {"TopicName": "named"}),
    "Subscription": (
        "SNS::Subscription",
        {
            "TopicArn": {"Ref": "Topic"},
            "Protocol": "sqs",
            "Endpoint": {"Fn::GetAtt": "Queue.Arn"},
        },
    ),
    "Policy": (
        "SQS::QueueInlinePolicy",
        {"Queue": {"Ref": "Queue"}, "PolicyDocument": ANYBODY},
    ),
    "Bus": ("Events::EventBus", {"Name": "named"}),
    "Rule": (
        "Events::Rule",
        {"Name": "named", "EventBusName": {"Ref": "Bus"}, "EventPattern": {"source": ["a"]}},
    ),
}


def test_stops_are_no_conflicts() -> None:
    """A restart that takes what its own attempt made for a stranger's fails a deployment that was fine."""

    async def test(site: Site) -> None:
        site.stopping = True
        made = {name: RESOURCES[name] for name in ("Role", "Function", "Queue")}
        made |= {
            name: {"Type": f"AWS::{kind}", "Properties": properties}
            for name, (kind, properties) in PROPERTIES.items()
        }
        await site.begin("CreateStack", made)
        assert await site.finish() >= len(made)
        events = (await site("DescribeStackEvents", StackName="s"))["StackEvents"]
        assert [] == [e for e in events if e["ResourceStatus"].endswith("FAILED")]
        await site("DeleteStack", StackName="s")
        await site.finish()
        assert [0] * 9 == await site.counts()

    on_site(test)
