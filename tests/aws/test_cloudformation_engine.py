"""CloudFormation's engine in process: what a server cannot show, such as a restart in the middle of an operation."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from penstock.api import Context, HttpRequest, HttpResponse, Request, Result, Service
from penstock.clock import SystemClock
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.services.cloudformation import CloudFormation, cloudformation_service
from penstock.services.iam import iam_service
from penstock.services.ssm import ssm_service
from penstock.storage.sqlite import SqliteStore
from tests.aws.direct import s3_over
from tests.trust import TRUST


class Cloud:
    """The services that these stacks need, over one store, behind a dispatcher."""

    def __init__(self, store: Any) -> None:
        self.clock = SystemClock()
        self.ids = Ids(1)
        self.store = store
        self.calls: list[tuple[str, str]] = []
        self.broken: str | None = None
        self.held: str | None = None
        self.reached = asyncio.Event()
        self.services: dict[str, Service] = {}
        for service in (
            s3_over(store, self.ids, self),
            iam_service(store, self.ids),
            ssm_service(store),
        ):
            self.services[service.name] = service
        self.cloudformation = self.begin()

    def begin(self) -> CloudFormation:
        made = cloudformation_service(self.store, self.ids, self.clock, self)
        self.services["cloudformation"] = made.service
        self.cloudformation = made
        return made

    async def call(self, ctx: Context, service: str, operation: str, request: Request) -> Result:
        self.calls.append((service, operation))
        if operation == self.broken:
            raise AwsError("ServiceUnavailable", "broken on purpose", status=503)
        if self.held is not None and request.get("Name") == self.held:
            self.reached.set()
            await asyncio.Event().wait()
        return await self.services[service].operations[operation](ctx, request) or {}

    async def http(self, ctx: Context, service: str, request: HttpRequest) -> HttpResponse:
        raise NotImplementedError

    async def __call__(
        self, operation: str, service: str = "cloudformation", **request: Any
    ) -> Result:
        ctx = Context(
            account="123456789012", region="us-east-1", now=self.clock.now(), request_id="r"
        )
        return await self.services[service].operations[operation](ctx, request) or {}

    async def run(self, operation: str, template: dict[str, Any], **request: Any) -> dict[str, Any]:
        """Carry out an operation to its end; the stack it leads to."""
        body = orjson.dumps(template).decode()
        answer = await self(operation, StackName="s", TemplateBody=body, **request)
        await self.cloudformation.idle()
        return (await self("DescribeStacks", StackName=answer["StackId"]))["Stacks"][0]

    async def history(self, stack: str = "s") -> list[tuple[str, str]]:
        events = (await self("DescribeStackEvents", StackName=stack))["StackEvents"]
        return [(event["LogicalResourceId"], event["ResourceStatus"]) for event in reversed(events)]


def in_cloud(test: Callable[[Cloud], Awaitable[None]]) -> None:
    async def main() -> None:
        store = await SqliteStore.open(":memory:")
        cloud = Cloud(store)
        await test(cloud)
        await cloud.cloudformation.close()
        await store.close()

    asyncio.run(main())


def parameter(name: str, value: Any = "v", **more: Any) -> dict[str, Any]:
    properties = {"Name": name, "Type": "String", "Value": value}
    return {"Type": "AWS::SSM::Parameter", "Properties": properties, **more}


async def ssm_value(cloud: Cloud, name: str) -> str | None:
    found = await cloud("GetParameters", "ssm", Names=[name])
    return found["Parameters"][0]["Value"] if found["Parameters"] else None


def test_create_follows_references_and_gives_outputs() -> None:
    """The events of a creation come in AWS's order, and outputs see the resources."""

    async def test(cloud: Cloud) -> None:
        template = {
            "Resources": {
                "B": parameter("/b", {"Fn::GetAtt": ["A", "Value"]}),
                "A": parameter("/a", "one"),
            },
            "Outputs": {"Out": {"Value": {"Fn::Sub": "${B}!"}, "Export": {"Name": "shared"}}},
        }
        stack = await cloud.run("CreateStack", template)
        assert "CREATE_COMPLETE" == stack["StackStatus"]
        expected = [{"OutputKey": "Out", "OutputValue": "/b!", "ExportName": "shared"}]
        assert expected == stack["Outputs"]
        expected_events = [
            ("s", "CREATE_IN_PROGRESS"),
            ("A", "CREATE_IN_PROGRESS"),
            ("A", "CREATE_IN_PROGRESS"),
            ("A", "CREATE_COMPLETE"),
            ("B", "CREATE_IN_PROGRESS"),
            ("B", "CREATE_IN_PROGRESS"),
            ("B", "CREATE_COMPLETE"),
            ("s", "CREATE_COMPLETE"),
        ]
        assert expected_events == await cloud.history()
        assert "one" == await ssm_value(cloud, "/b")

    in_cloud(test)


def test_failed_creation_rolls_back() -> None:
    """Nothing is left of a stack that could not be created, and the reason names the culprit."""

    async def test(cloud: Cloud) -> None:
        await cloud("PutParameter", "ssm", Name="/taken", Value="x", Type="String")
        template = {
            "Resources": {"A": parameter("/a"), "B": parameter("/taken", DependsOn="A")},
        }
        stack = await cloud.run("CreateStack", template)
        assert "ROLLBACK_COMPLETE" == stack["StackStatus"]
        events = (await cloud("DescribeStackEvents", StackName="s"))["StackEvents"]
        begun = next(e for e in events if e["ResourceStatus"] == "ROLLBACK_IN_PROGRESS")
        reason = "The following resource(s) failed to create: [B]. Rollback requested by user."
        assert reason == begun["ResourceStatusReason"]
        assert await ssm_value(cloud, "/a") is None
        assert "x" == await ssm_value(cloud, "/taken")

    in_cloud(test)


def test_update_changes_replaces_and_cleans_up() -> None:
    """In place, by replacement, by removal: each in its phase."""

    async def test(cloud: Cloud) -> None:
        before = {"A": parameter("/a"), "B": parameter("/b"), "C": parameter("/c")}
        await cloud.run("CreateStack", {"Resources": before})
        after = {"A": parameter("/a", "new"), "B": parameter("/b2"), "D": parameter("/d")}
        stack = await cloud.run("UpdateStack", {"Resources": after})
        assert "UPDATE_COMPLETE" == stack["StackStatus"]
        values = [await ssm_value(cloud, name) for name in ("/a", "/b", "/b2", "/c", "/d")]
        assert ["new", None, "v", None, "v"] == values
        history = await cloud.history()
        cleanup = history.index(("s", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"))
        assert history.index(("B", "DELETE_COMPLETE")) > cleanup
        with pytest.raises(AwsError, match="No updates are to be performed"):
            await cloud.run("UpdateStack", {"Resources": after})

    in_cloud(test)


def test_failed_update_returns_to_what_was() -> None:
    """Values, replaced resources and new ones all go back."""

    async def test(cloud: Cloud) -> None:
        await cloud("PutParameter", "ssm", Name="/taken", Value="x", Type="String")
        before = {"A": parameter("/a"), "B": parameter("/b")}
        await cloud.run("CreateStack", {"Resources": before})
        after = {
            "A": parameter("/a", "new"),
            "B": parameter("/b2"),
            "N": parameter("/n"),
            "Z": parameter("/taken", DependsOn=["A", "B", "N"]),
        }
        stack = await cloud.run("UpdateStack", {"Resources": after})
        assert "UPDATE_ROLLBACK_COMPLETE" == stack["StackStatus"]
        values = [await ssm_value(cloud, name) for name in ("/a", "/b", "/b2", "/n", "/taken")]
        assert ["v", "v", None, None, "x"] == values

    in_cloud(test)


def test_delete_keeps_what_is_retained_and_what_is_imported() -> None:
    """DeletionPolicy and exports in use protect from a deletion."""

    async def test(cloud: Cloud) -> None:
        template = {
            "Resources": {"A": parameter("/a", DeletionPolicy="Retain"), "B": parameter("/b")},
            "Outputs": {"O": {"Value": "7", "Export": {"Name": "shared"}}},
        }
        await cloud.run("CreateStack", template)
        user = {"Resources": {"U": parameter("/u", {"Fn::ImportValue": "shared"})}}
        await cloud("CreateStack", StackName="user", TemplateBody=orjson.dumps(user).decode())
        await cloud.cloudformation.idle()
        message = "Export shared cannot be deleted as it is in use by user"
        with pytest.raises(AwsError, match=message):
            await cloud("DeleteStack", StackName="s")
        await cloud("DeleteStack", StackName="user")
        await cloud.cloudformation.idle()
        await cloud("DeleteStack", StackName="s")
        await cloud.cloudformation.idle()
        assert ["v", None] == [await ssm_value(cloud, "/a"), await ssm_value(cloud, "/b")]
        with pytest.raises(AwsError, match="Stack with id s does not exist"):
            await cloud("DescribeStacks", StackName="s")

    in_cloud(test)


def test_restart_goes_on_with_a_creation() -> None:
    """An operation that a crash interrupted is finished by the next start, without making things twice."""

    async def test(cloud: Cloud) -> None:
        resources = {"A": parameter("/a"), "B": parameter("/b", DependsOn="A")}
        body = orjson.dumps({"Resources": resources}).decode()
        cloud.held = "/b"
        await cloud("CreateStack", StackName="s", TemplateBody=body)
        await cloud.reached.wait()
        await cloud.cloudformation.close()
        cloud.held = None
        await cloud.begin().restore()
        await cloud.cloudformation.idle()
        stack = (await cloud("DescribeStacks", StackName="s"))["Stacks"][0]
        assert "CREATE_COMPLETE" == stack["StackStatus"]
        assert 1 == (await cloud("GetParameter", "ssm", Name="/a"))["Parameter"]["Version"]

    in_cloud(test)


def test_deletion_that_fails_can_be_repeated() -> None:
    """A resource that cannot be deleted fails the deletion, by name, and the next one goes on."""

    async def test(cloud: Cloud) -> None:
        stack = await cloud.run("CreateStack", {"Resources": {"A": parameter("/a")}})
        cloud.broken = "DeleteParameter"
        await cloud("DeleteStack", StackName="s")
        await cloud.cloudformation.idle()
        failed = (await cloud("DescribeStacks", StackName="s"))["Stacks"][0]
        assert "DELETE_FAILED" == failed["StackStatus"]
        assert "The following resource(s) failed to delete: [A]. " == failed["StackStatusReason"]
        cloud.broken = None
        await cloud("DeleteStack", StackName="s")
        await cloud.cloudformation.idle()
        gone = (await cloud("DescribeStacks", StackName=stack["StackId"]))["Stacks"][0]
        assert "DELETE_COMPLETE" == gone["StackStatus"]

    in_cloud(test)


def test_role_bucket_and_generated_names() -> None:
    """Resources without a name get one of the stack, the logical id and chance."""

    async def test(cloud: Cloud) -> None:
        policy = {"Version": "2012-10-17", "Statement": []}
        role = {
            "AssumeRolePolicyDocument": TRUST,
            "ManagedPolicyArns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"],
            "Policies": [{"PolicyName": "p", "PolicyDocument": policy}],
        }
        template = {
            "Resources": {
                "Role": {"Type": "AWS::IAM::Role", "Properties": role},
                "Bucket": {
                    "Type": "AWS::S3::Bucket",
                    "Properties": {"VersioningConfiguration": {"Status": "Enabled"}},
                },
            },
            "Outputs": {
                "Arn": {"Value": {"Fn::GetAtt": "Role.Arn"}},
                "B": {"Value": {"Ref": "Bucket"}},
            },
        }
        with pytest.raises(AwsError, match=r"Requires capabilities : \[CAPABILITY_IAM\]"):
            await cloud.run("CreateStack", template)
        stack = await cloud.run("CreateStack", template, Capabilities=["CAPABILITY_IAM"])
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        assert outputs["Arn"].startswith("arn:aws:iam::123456789012:role/s-Role-")
        assert outputs["B"].startswith("s-bucket-")
        del role["ManagedPolicyArns"], role["Policies"]
        stack = await cloud.run("UpdateStack", template, Capabilities=["CAPABILITY_IAM"])
        assert "UPDATE_COMPLETE" == stack["StackStatus"]
        name = outputs["Arn"].rsplit("/", 1)[-1]
        attached = await cloud("ListAttachedRolePolicies", "iam", RoleName=name)
        assert [] == attached["AttachedPolicies"]
        await cloud("DeleteStack", StackName="s")
        await cloud.cloudformation.idle()
        assert [] == (await cloud("ListRoles", "iam"))["Roles"]

    in_cloud(test)


def test_change_set_shows_before_it_does() -> None:
    """A change set names what would happen; its execution does it; without changes it fails."""

    async def test(cloud: Cloud) -> None:
        body = orjson.dumps({"Resources": {"A": parameter("/a")}}).decode()
        named = {"StackName": "s", "ChangeSetName": "c"}
        await cloud("CreateChangeSet", **named, TemplateBody=body, ChangeSetType="CREATE")
        stack = (await cloud("DescribeStacks", StackName="s"))["Stacks"][0]
        assert "REVIEW_IN_PROGRESS" == stack["StackStatus"]
        shown = await cloud("DescribeChangeSet", **named)
        assert "Add" == shown["Changes"][0]["ResourceChange"]["Action"]
        await cloud("ExecuteChangeSet", **named)
        await cloud.cloudformation.idle()
        assert "v" == await ssm_value(cloud, "/a")
        await cloud("CreateChangeSet", StackName="s", ChangeSetName="again", TemplateBody=body)
        failed = await cloud("DescribeChangeSet", StackName="s", ChangeSetName="again")
        assert ["FAILED", "UNAVAILABLE"] == [failed["Status"], failed["ExecutionStatus"]]
        other = orjson.dumps({"Resources": {"A": parameter("/other")}}).decode()
        await cloud("CreateChangeSet", StackName="s", ChangeSetName="move", TemplateBody=other)
        moved = await cloud("DescribeChangeSet", StackName="s", ChangeSetName="move")
        assert "True" == moved["Changes"][0]["ResourceChange"]["Replacement"]

    in_cloud(test)


def test_name_of_an_executed_change_set_is_free() -> None:
    """The AWS CLI names change sets by the second, and a small deployment takes less."""

    async def test(cloud: Cloud) -> None:
        named = {"StackName": "s", "ChangeSetName": "c"}
        first = orjson.dumps({"Resources": {"A": parameter("/a")}}).decode()
        await cloud("CreateChangeSet", **named, TemplateBody=first, ChangeSetType="CREATE")
        await cloud("ExecuteChangeSet", **named)
        await cloud.cloudformation.idle()
        second = orjson.dumps({"Resources": {"A": parameter("/b")}}).decode()
        await cloud("CreateChangeSet", **named, TemplateBody=second)
        with pytest.raises(AwsError, match="mismatch with existing attribute"):
            await cloud("CreateChangeSet", **named, TemplateBody=first)
        await cloud("ExecuteChangeSet", **named)
        await cloud.cloudformation.idle()
        assert "v" == await ssm_value(cloud, "/b")

    in_cloud(test)


def test_unknown_types_and_properties_are_errors() -> None:
    """What cannot be made is never passed over."""

    async def test(cloud: Cloud) -> None:
        message = r"Template format error: Unrecognized resource types: \[AWS::No::Thing\]"
        with pytest.raises(AwsError, match=message):
            await cloud.run("CreateStack", {"Resources": {"A": {"Type": "AWS::No::Thing"}}})
        strange = parameter("/a")
        strange["Properties"]["Colour"] = "red"
        stack = await cloud.run("CreateStack", {"Resources": {"A": strange}})
        assert "ROLLBACK_COMPLETE" == stack["StackStatus"]

    in_cloud(test)


def test_sam_expands_and_url_is_fetched() -> None:
    """A template of the serverless kind, from a bucket, shows what it became."""

    async def test(cloud: Cloud) -> None:
        text = """
Transform: AWS::Serverless-2016-10-31
Resources:
  F:
    Type: AWS::Serverless::Function
    Properties:
      InlineCode: 'def handler(e, c): return 1'
      Handler: index.handler
      Runtime: python3.12
      Policies: [AWSLambdaSQSQueueExecutionRole]
"""
        await cloud("CreateBucket", "s3", Bucket="templates")
        await cloud("PutObject", "s3", Bucket="templates", Key="t.yaml", Body=text.encode())
        await cloud(
            "CreateChangeSet",
            StackName="s",
            ChangeSetName="c",
            ChangeSetType="CREATE",
            TemplateURL="https://templates.s3.us-east-1.amazonaws.com/t.yaml",
            Capabilities=["CAPABILITY_IAM"],
        )
        shown = await cloud("DescribeChangeSet", StackName="s", ChangeSetName="c")
        found = {change["ResourceChange"]["ResourceType"] for change in shown["Changes"]}
        assert {"AWS::IAM::Role", "AWS::Lambda::Function"} == found

    in_cloud(test)


def test_resources_whose_stored_properties_are_wrong_are_deleted() -> None:
    """An older version stored what this one would refuse: a stack must not be undeletable for it."""

    async def test(cloud: Cloud) -> None:
        role = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUST}}
        stack = await cloud.run(
            "CreateStack", {"Resources": {"A": role}}, Capabilities=["CAPABILITY_IAM"]
        )
        partition, sort = stack["StackId"].encode(), b"A"
        row = await cloud.store.table.get("cloudformation/resources", partition, sort)
        document = orjson.loads(row.document)
        wrong = {"ManagedPolicyArns": "arn:aws:iam::aws:policy/X", "Policies": [{"PolicyNam": "a"}]}
        document["properties"] |= wrong
        table = cloud.store.table
        await table.put("cloudformation/resources", partition, sort, orjson.dumps(document))
        await cloud("DeleteStack", StackName="s")
        await cloud.cloudformation.idle()
        assert [] == (await cloud("ListRoles", "iam"))["Roles"]

    in_cloud(test)


def test_values_stored_as_another_type_are_no_change() -> None:
    """An older version kept numbers as they were written: that is no reason to replace a role."""

    async def test(cloud: Cloud) -> None:
        properties = {"AssumeRolePolicyDocument": TRUST, "RoleName": 5}
        template = {"Resources": {"A": {"Type": "AWS::IAM::Role", "Properties": properties}}}
        capabilities = ["CAPABILITY_NAMED_IAM"]
        stack = await cloud.run("CreateStack", template, Capabilities=capabilities)
        table, partition = cloud.store.table, stack["StackId"].encode()
        row = await table.get("cloudformation/resources", partition, b"A")
        document = orjson.loads(row.document)
        assert "5" == document["properties"]["RoleName"]
        document["properties"]["RoleName"] = 5
        await table.put("cloudformation/resources", partition, b"A", orjson.dumps(document))
        before = (await cloud("GetRole", "iam", RoleName="5"))["Role"]["RoleId"]
        template["Resources"]["A"]["Properties"] = {**properties, "Description": "new"}
        stack = await cloud.run("UpdateStack", template, Capabilities=capabilities)
        assert "UPDATE_COMPLETE" == stack["StackStatus"]
        role = (await cloud("GetRole", "iam", RoleName="5"))["Role"]
        assert (before, "new") == (role["RoleId"], role["Description"])

    in_cloud(test)


def test_others_are_served_while_a_template_is_read() -> None:
    """A template of a megabyte takes seconds, in which queues and functions must go on."""

    async def test(cloud: Cloud) -> None:
        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        turns = 0
        queues = (f"  Q{n}: {{Type: 'AWS::SQS::Queue', Properties: {{}}}}\n" for n in range(500))
        waiting = asyncio.create_task(others())
        await cloud("ValidateTemplate", TemplateBody="Resources:\n" + "".join(queues))
        waiting.cancel()
        assert turns > 5

    in_cloud(test)


def test_an_export_that_is_being_imported_stays() -> None:
    """A stack that is under way has read the value already: the export must not go before it is complete."""

    async def test(cloud: Cloud) -> None:
        exported = {"O": {"Value": "7", "Export": {"Name": "shared"}}}
        resources = {"A": parameter("/a")}
        await cloud.run("CreateStack", {"Resources": resources, "Outputs": exported})
        read = parameter("/u", {"Fn::ImportValue": "shared"})
        body = orjson.dumps({"Resources": {"U": read, "Z": parameter("/z", DependsOn="U")}})
        cloud.held = "/z"
        await cloud("CreateStack", StackName="user", TemplateBody=body.decode())
        await cloud.reached.wait()
        with pytest.raises(AwsError, match="Export shared cannot be deleted as it is in use by u"):
            await cloud("DeleteStack", StackName="s")
        await cloud.cloudformation.close()
        cloud.held, cloud.broken = None, "PutParameter"
        await cloud.begin().restore()
        await cloud.cloudformation.idle()
        user = (await cloud("DescribeStacks", StackName="user"))["Stacks"][0]
        assert "ROLLBACK_COMPLETE" == user["StackStatus"]
        await cloud("DeleteStack", StackName="s")
        await cloud.cloudformation.idle()
        assert await ssm_value(cloud, "/a") is None

    in_cloud(test)
