"""Records and dead letters on their way to services other than SQS: a lane of the fan-out."""

from datetime import UTC, datetime
from typing import Any, Final

from penstock.api import Context, Dispatcher
from penstock.core.arn import Arn, parse_arn
from penstock.core.retry import Backoff, DeadLetter, DoublingSchedule
from penstock.delivery.model import Failed
from penstock.fanout import Delivery, Fanout, Lane, Letter
from penstock.storage.primitives import Leased

DESTINATIONS: Final = "lambda/destinations"
# AWS: destinations are tried again as events are (Lambda guide, "retry behavior"); what is refused for good is lost.
_RETRIES: Final = DoublingSchedule(
    max_retries=10_000,
    max_age_ms=6 * 3_600_000,
    backoff=Backoff(first_ms=1_000, most_ms=300_000),
)


def destinations_lane(fanout: Fanout) -> Lane:
    """The lane of records and dead letters for SNS, EventBridge, S3 and functions."""
    return fanout.lane(DESTINATIONS, lambda _: _RETRIES, _letter)


def _letter(delivery: Delivery, message: Leased, failed: Failed, decision: DeadLetter) -> Letter:
    """Never asked for: a destination has no dead-letter queue of its own."""
    return Letter(body=message.body)


def request_for(to: str, function_arn: str, condition: str, now: int, id_: str) -> dict[str, Any]:
    """What the operation of a destination's service is given beside the record."""
    match to.split(":", 3)[2]:
        case "events":
            success = "Success" if condition == "Success" else "Failure"
            return {
                "Source": "lambda",
                "Resources": [to, function_arn],
                "DetailType": f"Lambda Function Invocation Result - {success}",
            }
        case "s3":
            instant = datetime.fromtimestamp(now / 1000, UTC)
            name = parse_arn(function_arn).resource.split(":")[1]
            # AWS: aws/lambda/async/FUNCTION/YYYY/MM/DD/YYYY-MM-DDTHH.MM.SS-UUID (Lambda guide, "destinations"). The
            # UUID is the record's own, so that one told twice is one object.
            folder = f"aws/lambda/async/{name}/{instant:%Y/%m/%d}"
            return {"Key": f"{folder}/{instant:%Y-%m-%dT%H.%M.%S}-{id_}"}
    return {}


async def find_recipient(dispatcher: Dispatcher, ctx: Context, arn: Arn) -> None:
    """Ask the service of an ARN for what it names. Raises AwsError when it is not there, or no such service is built."""
    where = ctx.child(account=arn.account or ctx.account, region=arn.region or ctx.region)
    requests: dict[str, tuple[str, dict[str, Any]]] = {
        "lambda": ("GetFunctionConfiguration", {"FunctionName": str(arn)}),
        "sns": ("GetTopicAttributes", {"TopicArn": str(arn)}),
        "events": ("DescribeEventBus", {"Name": arn.name}),
        "s3": ("HeadBucket", {"Bucket": arn.resource}),
    }
    operation, request = requests[arn.service]
    await dispatcher.call(where, arn.service, operation, request)
