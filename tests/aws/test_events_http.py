"""EventBridge's HTTP targets: API destinations with their connections and rates, and stages of API Gateway."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.aws.events_application import KEY, Bus, Endpoint, destination
from tests.conftest import Server

ORDERS = {"source": ["shop"]}
ROLE = "arn:aws:iam::000000000000:role/r"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """One of the test's own."""
    made = Endpoint()
    yield made
    made.close()


@pytest.fixture
def bus(frozen_events: Server, connect: Callable[..., Any], unique: str) -> Bus:
    """A bus on it."""
    made = Bus(frozen_events.endpoint, connect, unique)
    made.steer("clock", {"freeze": True})
    return made


BASIC = {
    "AuthorizationType": "BASIC",
    "AuthParameters": {"BasicAuthParameters": {"Username": "u", "Password": "hush"}},
}


def oauth(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "AuthorizationType": "OAUTH_CLIENT_CREDENTIALS",
        "AuthParameters": {
            "OAuthParameters": {
                "ClientParameters": {"ClientID": "id", "ClientSecret": "hush"},
                "AuthorizationEndpoint": f"{endpoint.url}/token",
                "HttpMethod": "POST",
                "OAuthHttpParameters": {
                    "BodyParameters": [{"Key": "scope", "Value": "all", "IsValueSecret": False}]
                },
            }
        },
    }


def lower(seen: dict[str, Any]) -> dict[str, str]:
    return {name.lower(): value for name, value in seen["headers"].items()}


def test_a_call_with_parameters_of_target_and_connection(bus: Bus, endpoint: Endpoint) -> None:
    """The connection's stand above the target's; wildcards of the path are filled in order."""

    def pair(key: str, value: str) -> list[dict[str, Any]]:
        return [{"Key": key, "Value": value, "IsValueSecret": False}]

    connection = {
        **BASIC,
        "AuthParameters": {
            **BASIC["AuthParameters"],
            "InvocationHttpParameters": {
                "HeaderParameters": pair("X-Who", "connection"),
                "QueryStringParameters": pair("q", "connection"),
                "BodyParameters": pair("more", "1"),
            },
        },
    }
    arn = destination(bus, f"{endpoint.url}/a/*/b/*", connection, HttpMethod="PUT")
    http = {
        "PathParameterValues": ["x y", "z"],
        "HeaderParameters": {"x-who": "target", "x-other": "target"},
        "QueryStringParameters": {"q": "target", "r": "s"},
    }
    bus.rule(ORDERS, {"Arn": arn, "RoleArn": ROLE, "InputPath": "$.detail", "HttpParameters": http})

    bus.put({"n": 1})
    bus.advance(0)

    (seen,) = endpoint.seen
    headers = lower(seen)
    assert "/a/x%20y/b/z?q=connection&r=s" == seen["path"]
    assert {"n": 1, "more": "1"} == json.loads(seen["body"])
    assert ("connection", "target") == (headers["x-who"], headers["x-other"])
    assert f"Basic {base64.b64encode(b'u:hush').decode()}" == headers["authorization"]
    assert "Amazon/EventBridge/ApiDestinations" == headers["user-agent"]
    assert "application/json; charset=utf-8" == headers["content-type"]


def test_an_api_key_is_a_header(bus: Bus, endpoint: Endpoint) -> None:
    """The endpoint gets the key under the name that the connection gives it."""
    bus.rule(ORDERS, {"Arn": destination(bus, endpoint.url, KEY), "RoleArn": ROLE})
    bus.put()
    bus.advance(0)
    assert ["hush"] == [lower(seen)["x-key"] for seen in endpoint.seen]


def test_a_token_is_got_kept_and_got_again(bus: Bus, endpoint: Endpoint) -> None:
    """One for many calls; another one when the endpoint no longer takes it."""
    endpoint.tokens = ["one", "two"]
    arn = destination(bus, f"{endpoint.url}/hook", oauth(endpoint))
    name = bus.unique[-64:]
    assert "AUTHORIZING" == bus.events.describe_connection(Name=name)["ConnectionState"]
    assert "INACTIVE" == bus.events.describe_api_destination(Name=name)["ApiDestinationState"]
    bus.advance(1)
    assert "AUTHORIZED" == bus.events.describe_connection(Name=name)["ConnectionState"]
    bus.rule(ORDERS, {"Arn": arn, "RoleArn": ROLE})

    bus.put()
    bus.put()
    bus.advance(1)
    endpoint.answers = [(401, {})]
    bus.put()
    bus.advance(1)

    asked = [json.loads(seen["body"]) for seen in endpoint.seen if seen["path"] == "/token"]
    assert [("id", "hush", "all")] * 2 == [
        (one["client_id"], one["client_secret"], one["scope"]) for one in asked
    ]
    calls = [lower(seen)["authorization"] for seen in endpoint.seen if seen["path"] == "/hook"]
    assert ["Bearer one", "Bearer one", "Bearer one", "Bearer two"] == calls


def test_a_deauthorized_connection_is_refused(bus: Bus, endpoint: Endpoint) -> None:
    """Until an update gives it secrets again; one that is still to be authorized is none."""
    endpoint.tokens = ["one", "two"]
    arn = destination(bus, f"{endpoint.url}/hook", oauth(endpoint))
    name = bus.unique[-64:]
    letters, dead = bus.queue("dead")
    bus.rule(ORDERS, {"Arn": arn, "RoleArn": ROLE, "DeadLetterConfig": {"Arn": dead}})
    bus.events.deauthorize_connection(Name=name)
    bus.put()
    bus.advance(2)

    assert [] == endpoint.seen
    assert "DEAUTHORIZED" == bus.events.describe_connection(Name=name)["ConnectionState"]
    assert 1 == len(bus.messages(letters))

    bus.events.update_connection(Name=name, **oauth(endpoint))
    bus.put()
    bus.advance(2)

    assert "/hook" in [seen["path"] for seen in endpoint.seen]
    assert "AUTHORIZED" == bus.events.describe_connection(Name=name)["ConnectionState"]


@pytest.mark.parametrize("expires_in", [None, "soon", []])
def test_a_token_that_does_not_say_until_when(
    bus: Bus, endpoint: Endpoint, expires_in: object
) -> None:
    """Without a lifetime nobody knows when to ask again: it counts as none."""
    endpoint.tokens, endpoint.expires_in = ["one"], expires_in
    destination(bus, f"{endpoint.url}/hook", oauth(endpoint))
    bus.advance(2)

    told = bus.events.describe_connection(Name=bus.unique[-64:])
    assert "DEAUTHORIZED" == told["ConnectionState"]
    assert "gave no token" in told["StateReason"]


def test_a_rate_is_kept(bus: Bus, endpoint: Endpoint) -> None:
    """Two a second, evenly: whoever must wait has not been tried."""
    arn = destination(bus, endpoint.url, KEY, InvocationRateLimitPerSecond=2)
    letters, dead = bus.queue("dead")
    policy = {"MaximumRetryAttempts": 0}
    bus.rule(
        ORDERS,
        {"Arn": arn, "RoleArn": ROLE, "RetryPolicy": policy, "DeadLetterConfig": {"Arn": dead}},
    )
    for n in range(5):
        bus.put({"n": n})

    counts = []
    for _ in range(5):
        bus.advance(0.5)
        counts.append(len(endpoint.seen))

    assert [2, 3, 4, 5, 5] == counts
    assert [] == bus.messages(letters)


def test_whoever_waited_too_long_takes_no_turn(bus: Bus, endpoint: Endpoint) -> None:
    """After a burst of which most is dropped, single events are delivered at once."""
    arn = destination(bus, endpoint.url, KEY, InvocationRateLimitPerSecond=1)
    policy = {"MaximumEventAgeInSeconds": 60}
    bus.rule(ORDERS, {"Arn": arn, "RoleArn": ROLE, "RetryPolicy": policy})
    entry = {"Source": "shop", "DetailType": "order", "EventBusName": bus.name}
    for _ in range(25):
        bus.events.put_events(Entries=[{**entry, "Detail": "{}"}] * 10)
    bus.advance(90)
    assert 60 <= len(endpoint.seen) <= 62
    endpoint.seen.clear()

    for n in range(3):
        bus.put({"n": n})
        bus.advance(10)

    assert 3 == len(endpoint.seen)


def test_a_higher_rate_helps_those_who_wait(bus: Bus, endpoint: Endpoint) -> None:
    """They go on by the new rate, and not by the one that they began to wait at."""
    arn = destination(bus, endpoint.url, KEY, InvocationRateLimitPerSecond=1)
    bus.rule(ORDERS, {"Arn": arn, "RoleArn": ROLE})
    entry = {"Source": "shop", "DetailType": "order", "EventBusName": bus.name}
    for _ in range(4):
        bus.events.put_events(Entries=[{**entry, "Detail": "{}"}] * 10)
    bus.advance(0)
    assert 1 == len(endpoint.seen)

    bus.events.update_api_destination(Name=bus.unique[-64:], InvocationRateLimitPerSecond=300)
    bus.advance(12)

    assert 40 == len(endpoint.seen)


def test_what_is_tried_again_and_what_is_not(bus: Bus, endpoint: Endpoint) -> None:
    """409, 429 and 5xx pass, and Retry-After is honoured; any other refusal is final."""
    arn = destination(bus, endpoint.url, KEY)
    letters, dead = bus.queue("dead")
    bus.rule(ORDERS, {"Arn": arn, "RoleArn": ROLE, "DeadLetterConfig": {"Arn": dead}})

    endpoint.answers = [(503, {}), (429, {"Retry-After": "30"})]
    bus.put()
    bus.advance(1)
    assert 2 == len(endpoint.seen)
    bus.advance(29)
    assert 2 == len(endpoint.seen)
    bus.advance(1)
    assert 3 == len(endpoint.seen)
    assert [] == bus.messages(letters)

    endpoint.answers = [(404, {})]
    bus.put()
    bus.advance(1)
    (letter,) = bus.messages(letters)
    told = letter["MessageAttributes"]
    assert "ERROR_FROM_TARGET" == told["ERROR_CODE"]["StringValue"]
    assert "404" in told["ERROR_MESSAGE"]["StringValue"]


def test_secrets_are_not_shown(bus: Bus, endpoint: Endpoint) -> None:
    """Who describes a connection sees what is in it but for the secrets; an update changes what it names."""
    destination(bus, endpoint.url, KEY)
    name = bus.unique[-64:]

    bus.events.update_connection(
        Name=name, AuthParameters={"ApiKeyAuthParameters": {"ApiKeyName": "X-Other"}}
    )

    told = bus.events.describe_connection(Name=name)
    assert {"ApiKeyAuthParameters": {"ApiKeyName": "X-Other"}} == told["AuthParameters"]
    assert told["SecretArn"].endswith("-inside")
    bus.events.delete_api_destination(Name=name)
    bus.events.delete_connection(Name=name)
    with pytest.raises(ClientError, match=f"Connection '{name}' does not exist"):
        bus.events.describe_connection(Name=name)


def test_a_destination_that_is_gone_leaves_a_dead_letter(bus: Bus, endpoint: Endpoint) -> None:
    """What can never arrive is told at once, and not tried for a day."""
    arn = destination(bus, endpoint.url, KEY)
    letters, dead = bus.queue("dead")
    bus.rule(ORDERS, {"Arn": arn, "RoleArn": ROLE, "DeadLetterConfig": {"Arn": dead}})
    bus.events.delete_api_destination(Name=bus.unique[-64:])

    bus.put()
    bus.advance(0)

    (letter,) = bus.messages(letters)
    assert "NO_RESOURCE" == letter["MessageAttributes"]["ERROR_CODE"]["StringValue"]


def test_a_destination_that_is_deleted_while_events_wait_for_it(
    bus: Bus, endpoint: Endpoint
) -> None:
    """They become dead letters when their turn comes, and so do those that come later."""
    endpoint.answers = [(503, {"Retry-After": "60"})]
    arn = destination(bus, endpoint.url, KEY)
    letters, dead = bus.queue("dead")
    bus.rule(ORDERS, {"Arn": arn, "RoleArn": ROLE, "DeadLetterConfig": {"Arn": dead}})
    waits = bus.put()["EventId"]
    bus.advance(0)
    bus.events.delete_api_destination(Name=bus.unique[-64:])
    late = bus.put()["EventId"]
    bus.advance(120)

    found = bus.messages(letters)

    assert {waits, late} == {json.loads(letter["Body"])["id"] for letter in found}
    assert 1 == len(endpoint.seen)


def test_a_stage_of_api_gateway_is_called(bus: Bus, connect: Any) -> None:
    """As a client would call it: here a method that puts its body into a queue."""
    url, _ = bus.queue("taken")
    api = connect(bus.endpoint, "apigateway")
    rest = api.create_rest_api(name=bus.unique)
    resource = api.create_resource(
        restApiId=rest["id"], parentId=rest["rootResourceId"], pathPart="{name}"
    )
    method = {"restApiId": rest["id"], "resourceId": resource["id"], "httpMethod": "POST"}
    api.put_method(**method, authorizationType="NONE")
    api.put_integration(
        **method,
        type="AWS",
        integrationHttpMethod="POST",
        uri=f"arn:aws:apigateway:us-east-1:sqs:path/000000000000/{url.rsplit('/', 1)[1]}",
        credentials=ROLE,
        requestParameters={
            "integration.request.header.Content-Type": "'application/x-www-form-urlencoded'"
        },
        requestTemplates={
            "application/json": "Action=SendMessage&MessageBody=$input.params('name') $input.json('$.n')"
        },
    )
    api.put_method_response(**method, statusCode="200")
    api.put_integration_response(**method, statusCode="200")
    api.create_deployment(restApiId=rest["id"], stageName="live")
    arn = f"arn:aws:execute-api:us-east-1:000000000000:{rest['id']}/live/POST/*"
    http = {"PathParameterValues": ["ann"]}
    bus.rule(ORDERS, {"Arn": arn, "RoleArn": ROLE, "InputPath": "$.detail", "HttpParameters": http})

    bus.put({"n": 7})
    bus.advance(0)

    assert ["ann 7"] == [message["Body"] for message in bus.messages(url)]
