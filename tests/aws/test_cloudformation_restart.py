"""Operations on stacks that are stopped after each of their steps, in a whole Penstock."""

import ast
import asyncio
import functools
import logging
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from penstock.api import Context, Handler, Request, Result
from penstock.app import App
from penstock.config import Config
from penstock.core.errors import AwsError
from penstock.core.ids import Ids
from penstock.services.cloudformation import resources as rows
from penstock.services.cloudformation.attributes import attributes_of
from tests.trust import TRUST

ALLOW = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sqs:*", "Resource": "*"}],
}
DEFINITION = {
    "swagger": "2.0",
    "info": {"title": "defined", "version": "1"},
    "paths": {"/a": {"get": {"x-amazon-apigateway-integration": {"type": "mock"}}}},
}
MANAGED = "arn:aws:iam::aws:policy/ReadOnlyAccess"
API = {"Ref": "Api"}
RESOURCES: dict[str, Any] = {
    "Role": {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": TRUST,
            "ManagedPolicyArns": [MANAGED],
            "Policies": [{"PolicyName": "p", "PolicyDocument": ALLOW}],
        },
    },
    "Managed": {
        "Type": "AWS::IAM::ManagedPolicy",
        "Properties": {"PolicyDocument": ALLOW, "Roles": [{"Ref": "Role"}]},
    },
    "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": 60}},
    "Function": {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Code": {"ZipFile": "def handler(e, c): return 1"},
            "Handler": "index.handler",
            "Runtime": f"python3.{sys.version_info.minor}",
            "Role": {"Fn::GetAtt": "Role.Arn"},
        },
    },
    "Mapping": {
        "Type": "AWS::Lambda::EventSourceMapping",
        "Properties": {
            "EventSourceArn": {"Fn::GetAtt": "Queue.Arn"},
            "FunctionName": {"Ref": "Function"},
            "Enabled": False,
        },
    },
    "Permission": {
        "Type": "AWS::Lambda::Permission",
        "Properties": {
            "Action": "lambda:InvokeFunction",
            "FunctionName": {"Ref": "Function"},
            "Principal": "apigateway.amazonaws.com",
        },
    },
    "Table": {
        "Type": "AWS::DynamoDB::Table",
        "Properties": {
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "BillingMode": "PAY_PER_REQUEST",
        },
    },
    "Bucket": {
        "Type": "AWS::S3::Bucket",
        "Properties": {"VersioningConfiguration": {"Status": "Enabled"}},
    },
    "Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {"RetentionInDays": 7}},
    "Value": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "v"}},
    "Defined": {"Type": "AWS::ApiGateway::RestApi", "Properties": {"Body": DEFINITION}},
    "Api": {"Type": "AWS::ApiGateway::RestApi", "Properties": {"Name": "plain"}},
    "Path": {
        "Type": "AWS::ApiGateway::Resource",
        "Properties": {
            "RestApiId": API,
            "ParentId": {"Fn::GetAtt": "Api.RootResourceId"},
            "PathPart": "orders",
        },
    },
    "Method": {
        "Type": "AWS::ApiGateway::Method",
        "Properties": {
            "RestApiId": API,
            "ResourceId": {"Ref": "Path"},
            "HttpMethod": "GET",
            "AuthorizationType": "NONE",
            "MethodResponses": [{"StatusCode": "200"}],
            "Integration": {
                "Type": "MOCK",
                "RequestTemplates": {"application/json": '{"statusCode": 200}'},
                "IntegrationResponses": [{"StatusCode": "200"}],
            },
        },
    },
    "Release": {
        "Type": "AWS::ApiGateway::Deployment",
        "DependsOn": "Method",
        "Properties": {"RestApiId": API},
    },
    "Stage": {
        "Type": "AWS::ApiGateway::Stage",
        "Properties": {
            "RestApiId": API,
            "DeploymentId": {"Ref": "Release"},
            "StageName": "v1",
            "MethodSettings": [
                {"ResourcePath": "/*", "HttpMethod": "*", "ThrottlingBurstLimit": 7}
            ],
        },
    },
    "Answer": {
        "Type": "AWS::ApiGateway::GatewayResponse",
        "Properties": {"RestApiId": API, "ResponseType": "DEFAULT_4XX", "StatusCode": "418"},
    },
    "Validator": {
        "Type": "AWS::ApiGateway::RequestValidator",
        "Properties": {"RestApiId": API, "ValidateRequestBody": True},
    },
    "Model": {
        "Type": "AWS::ApiGateway::Model",
        "Properties": {"RestApiId": API, "Schema": {"type": "object"}},
    },
}


class Site:
    """A Penstock whose CloudFormation can be stopped after each call that it makes."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.reached = asyncio.Event()
        self.stopping = False
        self.seen: set[str] = set()
        handlers: Any = app.handlers
        for (service, name), handler in list(handlers.items()):
            if service != "cloudformation" and not name.startswith(("Get", "List", "Describe")):
                handlers[service, name] = self.stopped_after(service, name, handler)

    def stopped_after(self, service: str, name: str, handler: Handler) -> Handler:
        """The operation, after whose first run with a request nothing goes on."""

        @functools.wraps(handler)
        async def run(ctx: Context, request: Request) -> Result | None:
            key = f"{service} {name} {request}"
            result = await handler(ctx, request)
            if self.stopping and key not in self.seen:
                self.seen.add(key)
                self.reached.set()
                await asyncio.Event().wait()
            return result

        return run

    async def __call__(
        self, operation: str, service: str = "cloudformation", **request: Any
    ) -> Any:
        ctx = Context(
            account="000000000000",
            region="us-east-1",
            now=self.app.clock.now(),
            request_id="r",
        )
        return await self.app.handlers[service, operation](ctx, request) or {}

    async def finish(self) -> int:
        """Stop and start again until the operation has ended; how often that was."""
        stops = 0
        while True:
            idle = asyncio.create_task(self.app.cloudformation.idle())
            reached = asyncio.create_task(self.reached.wait())
            await asyncio.wait({idle, reached}, return_when=asyncio.FIRST_COMPLETED)
            ended = idle.done()
            reached.cancel()
            if ended:
                return stops
            idle.cancel()
            stops += 1
            self.reached.clear()
            await self.app.cloudformation.close()
            await self.app.cloudformation.restore()

    async def stack(self, name: str = "s") -> dict[str, Any]:
        found: dict[str, Any] = (await self("DescribeStacks", StackName=name))["Stacks"][0]
        return found

    async def begin(self, operation: str, resources: dict[str, Any]) -> str:
        body = orjson.dumps({"Resources": resources}).decode()
        answer = await self(
            operation, StackName="s", TemplateBody=body, Capabilities=["CAPABILITY_IAM"]
        )
        return str(answer["StackId"])

    async def counts(self) -> list[int]:
        """How many there are of what a stack may make twice."""
        listed = [
            (await self("ListRoles", "iam"))["Roles"],
            (await self("ListPolicies", "iam", Scope="Local"))["Policies"],
            (await self("ListQueues", "sqs")).get("QueueUrls", []),
            (await self("ListFunctions", "lambda"))["Functions"],
            (await self("ListEventSourceMappings", "lambda"))["EventSourceMappings"],
            (await self("ListTables", "dynamodb"))["TableNames"],
            (await self("ListBuckets", "s3"))["Buckets"],
            (await self("DescribeLogGroups", "logs"))["logGroups"],
            (await self("GetRestApis", "apigateway"))["items"],
        ]
        return [len(each) for each in listed]


def on_site(test: Callable[[Site], Awaitable[None]]) -> None:
    async def main() -> None:
        app = await App.open(Config(data=":memory:"), ids=Ids(1))
        try:
            await test(Site(app))
        finally:
            await app.close()

    asyncio.run(main())


def test_stops_after_every_step_make_nothing_twice() -> None:
    """A crash between a service's answer and the stack's record of it is where resources are made twice or lost."""

    async def test(site: Site) -> None:
        site.stopping = True
        stack_id = await site.begin("CreateStack", RESOURCES)
        stops = await site.finish()
        events = (await site("DescribeStackEvents", StackName="s"))["StackEvents"]
        failed = [e for e in events if e["ResourceStatus"].endswith("FAILED")]
        assert [] == failed
        assert stops > 20
        assert "CREATE_COMPLETE" == (await site.stack())["StackStatus"]
        assert [1, 1, 1, 1, 1, 1, 1, 1, 2] == await site.counts()

        changed = orjson.loads(orjson.dumps(RESOURCES))
        del changed["Role"]["Properties"]["ManagedPolicyArns"]
        changed["Role"]["Properties"]["Policies"] = []
        changed["Queue"]["Properties"]["VisibilityTimeout"] = 90
        changed["Table"]["Properties"]["TableName"] = "named"
        changed["Method"]["Properties"]["ApiKeyRequired"] = False
        changed["Api"]["Properties"]["BinaryMediaTypes"] = ["image/png"]
        changed["Stage"]["Properties"]["MethodSettings"] = []
        del changed["Model"], changed["Logs"]
        await site.begin("UpdateStack", changed)
        assert await site.finish() > 6
        assert "UPDATE_COMPLETE" == (await site.stack())["StackStatus"]
        assert [1, 1, 1, 1, 1, 1, 1, 0, 2] == await site.counts()

        await site("DeleteStack", StackName="s")
        assert await site.finish() > 10
        assert "DELETE_COMPLETE" == (await site.stack(stack_id))["StackStatus"]
        assert [0] * 9 == await site.counts()

    on_site(test)


def test_stops_while_what_is_named_is_made() -> None:
    """A restart finds under the template's name what the stack made itself: that is no stranger's."""

    async def test(site: Site) -> None:
        site.stopping = True
        named: dict[str, Any] = {
            "SQS::Queue": {"QueueName": "named"},
            "SNS::Topic": {"TopicName": "named"},
            "S3::Bucket": {"BucketName": "named"},
            "Events::Rule": {"Name": "named", "ScheduleExpression": "rate(1 day)"},
            "Events::EventBus": {"Name": "named"},
            "Logs::LogGroup": {"LogGroupName": "named", "RetentionInDays": 7},
            "Logs::ResourcePolicy": {
                "PolicyName": "named",
                "PolicyDocument": orjson.dumps(TRUST).decode(),
            },
            "SSM::Parameter": {"Name": "named", "Type": "String", "Value": "v"},
            "DynamoDB::Table": {**RESOURCES["Table"]["Properties"], "TableName": "named"},
        }
        resources = {
            kind.replace("::", ""): {"Type": f"AWS::{kind}", "Properties": properties}
            for kind, properties in named.items()
        }
        await site.begin("CreateStack", resources)
        assert await site.finish() >= len(resources)
        events = (await site("DescribeStackEvents", StackName="s"))["StackEvents"]
        assert [] == [e for e in events if e["ResourceStatus"].endswith("FAILED")]
        assert "CREATE_COMPLETE" == (await site.stack())["StackStatus"]
        renamed = {**resources, "SQSQueue": RESOURCES["Queue"]}
        renamed["Other"] = {**RESOURCES["Queue"], "Properties": {"QueueName": "other"}}
        await site.begin("UpdateStack", renamed)
        assert await site.finish() > 1
        assert "UPDATE_COMPLETE" == (await site.stack())["StackStatus"]
        assert 2 == (await site.counts())[2]
        await site("DeleteStack", StackName="s")
        await site.finish()
        assert [0] * 9 == await site.counts()

    on_site(test)


def test_stop_before_a_name_is_taken_takes_nothing_over() -> None:
    """A stop that comes between the look and the creation must not make a stranger's queue the stack's."""

    async def test(site: Site) -> None:
        await site("CreateQueue", "sqs", QueueName="named")
        handlers: Any = site.app.handlers
        ask = handlers["sqs", "GetQueueUrl"]
        handlers["sqs", "GetQueueUrl"] = site.stopped_after("sqs", "GetQueueUrl", ask)
        site.stopping = True
        queue = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "named"}}
        await site.begin("CreateStack", {"Q": queue})
        assert await site.finish() > 0
        assert "ROLLBACK_COMPLETE" == (await site.stack())["StackStatus"]
        assert 1 == (await site.counts())[2]

    on_site(test)


def test_attributes_that_are_known_before_are_those_that_are_given() -> None:
    """A template is refused for an attribute that is not in the list: the list must be that of the rows."""

    async def test(site: Site) -> None:
        stack_id = await site.begin("CreateStack", RESOURCES)
        await site.finish()
        table, partition = site.app.store.table, stack_id.encode()
        documents = await table.range("cloudformation/resources", partition, limit=100)
        assert len(RESOURCES) == len(documents)
        for document in map(orjson.loads, (row.document for row in documents)):
            # A stream is given where there is one.
            known = attributes_of(document["ResourceType"]) - {"StreamArn"}
            assert known == document["attributes"].keys(), document["ResourceType"]

    on_site(test)


def test_creation_that_fails_half_way_leaves_nothing() -> None:
    """A resource that exists but could not be configured is removed by the rollback."""

    async def test(site: Site) -> None:
        role = orjson.loads(orjson.dumps(RESOURCES["Role"]))
        role["Properties"]["ManagedPolicyArns"] = ["arn:aws:iam::000000000000:policy/none"]
        await site.begin("CreateStack", {"Role": role})
        await site.finish()
        assert "ROLLBACK_COMPLETE" == (await site.stack())["StackStatus"]
        assert 0 == (await site.counts())[0]

    on_site(test)


def test_settings_that_a_template_no_longer_has_are_removed() -> None:
    """An update that reports success has taken away what the template took away."""

    async def test(site: Site) -> None:
        names = ("Api", "Path", "Method", "Release", "Stage")
        resources = orjson.loads(orjson.dumps({name: RESOURCES[name] for name in names}))
        resources["Api"]["Properties"]["BinaryMediaTypes"] = ["image/png", "image/gif"]
        await site.begin("CreateStack", resources)
        await site.finish()
        resources["Api"]["Properties"]["BinaryMediaTypes"] = ["image/gif"]
        del resources["Stage"]["Properties"]["MethodSettings"]
        await site.begin("UpdateStack", resources)
        await site.finish()
        assert "UPDATE_COMPLETE" == (await site.stack())["StackStatus"]
        (api,) = (await site("GetRestApis", "apigateway"))["items"]
        assert ["image/gif"] == api["binaryMediaTypes"]
        place = {"restApiId": api["id"], "stageName": "v1"}
        stage = await site("GetStage", "apigateway", **place)
        assert {} == stage.get("methodSettings", {})

    on_site(test)


def test_update_that_cannot_be_done_is_refused() -> None:
    """A change that no operation can make fails the update instead of being passed over."""

    async def test(site: Site) -> None:
        role = orjson.loads(orjson.dumps(RESOURCES["Role"]))
        await site.begin("CreateStack", {"Role": role})
        await site.finish()
        role["Properties"]["PermissionsBoundary"] = MANAGED
        await site.begin("UpdateStack", {"Role": role})
        await site.finish()
        assert "UPDATE_ROLLBACK_COMPLETE" == (await site.stack())["StackStatus"]

    on_site(test)


def test_protection_given_during_an_operation_stays() -> None:
    """The work in the background must not undo what its user changes meanwhile."""

    async def test(site: Site) -> None:
        site.stopping = True
        await site.begin("CreateStack", {"Value": RESOURCES["Value"]})
        await site.reached.wait()
        protect = {"StackName": "s", "EnableTerminationProtection": True}
        await site("UpdateTerminationProtection", **protect)
        await site.finish()
        stack = await site.stack()
        assert ["CREATE_COMPLETE", True] == [
            stack["StackStatus"],
            stack["EnableTerminationProtection"],
        ]

    on_site(test)


def test_one_of_two_requests_at_once_is_refused() -> None:
    """Two clients that begin at the same instant must not both be told that their operation runs."""

    async def test(site: Site) -> None:
        same = {"Value": RESOURCES["Value"]}
        answers = await asyncio.gather(
            site.begin("CreateStack", same),
            site.begin("CreateStack", same),
            return_exceptions=True,
        )
        assert 1 == sum(isinstance(answer, AwsError) for answer in answers)
        await site.finish()
        other = {
            "Value": {**RESOURCES["Value"], "DeletionPolicy": "Retain"},
            "Q": RESOURCES["Queue"],
        }
        answers = await asyncio.gather(
            site.begin("UpdateStack", other),
            site.begin("UpdateStack", other),
            return_exceptions=True,
        )
        assert 1 == sum(isinstance(answer, AwsError) for answer in answers)
        await site.finish()
        assert "UPDATE_COMPLETE" == (await site.stack())["StackStatus"]

    on_site(test)


def test_own_fault_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A fault of ours fails the stack and leaves a traceback for whoever has to find it."""

    async def test(site: Site) -> None:
        handlers: Any = site.app.handlers

        @functools.wraps(handlers["ssm", "PutParameter"])
        async def faulty(ctx: Context, request: Request) -> Result | None:
            raise ZeroDivisionError

        handlers["ssm", "PutParameter"] = faulty
        await site.begin("CreateStack", {"Value": RESOURCES["Value"]})
        await site.finish()
        assert "ROLLBACK_COMPLETE" == (await site.stack())["StackStatus"]

    with caplog.at_level(logging.ERROR, "penstock.cloudformation"):
        on_site(test)
    assert [ZeroDivisionError] == [r.exc_info[0] for r in caplog.records if r.exc_info]


def test_types_that_are_not_built_are_refused_at_once() -> None:
    """A rule of IoT needs a service that is not there: the deployment says so before anything is created."""

    async def test(site: Site) -> None:
        properties = {
            "InlineCode": "def handler(e, c): return 1",
            "Handler": "index.handler",
            "Runtime": "python3.12",
            "Events": {"T": {"Type": "IoTRule", "Properties": {"Sql": "SELECT * FROM 't'"}}},
        }
        template = {
            "Transform": "AWS::Serverless-2016-10-31",
            "Resources": {"F": {"Type": "AWS::Serverless::Function", "Properties": properties}},
        }
        request = {
            "StackName": "s",
            "TemplateBody": orjson.dumps(template).decode(),
            "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        }
        with pytest.raises(AwsError, match="AWS::IoT::TopicRule"):
            await site("CreateStack", **request)
        with pytest.raises(AwsError, match="AWS::IoT::TopicRule"):
            await site("CreateChangeSet", **request, ChangeSetName="c", ChangeSetType="CREATE")
        assert [] == (await site("ListStacks"))["StackSummaries"]

    on_site(test)


def test_every_operation_of_every_row_exists() -> None:
    """A row that calls what no service has would fail in the middle of a deployment."""
    called = set()
    for path in Path(rows.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                texts = [a.value for a in node.args[:2] if isinstance(a, ast.Constant)]
                if node.func.attr in ("call", "make", "drop") and len(texts) == 2:
                    called.add((texts[0], texts[1]))
            name = str(node.value) if isinstance(node, ast.Constant) else ""
            if path.stem == "s3" and name.startswith(("Put", "Delete")):
                called.add(("s3", name))

    async def test(site: Site) -> None:
        assert len(called) > 50
        assert set() == called - set(site.app.handlers)

    on_site(test)


def test_foreign_tokens_are_refused() -> None:
    """A token that was never given out is the client's mistake, not ours."""

    async def test(site: Site) -> None:
        for token in ("x", "²", "-1"):
            with pytest.raises(AwsError, match="NextToken"):
                await site("ListStacks", NextToken=token)

    on_site(test)
