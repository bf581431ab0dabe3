"""The transform AWS::Serverless-2016-10-31, by AWS's own translator."""

import asyncio
import copy
import logging
from types import SimpleNamespace
from typing import Any, Final

from penstock.core.template.node import Template, invalid

TRANSFORM: Final = "AWS::Serverless-2016-10-31"


async def expand(template: Template, parameters: dict[str, Any], region: str) -> Template:
    """The template with its serverless resources replaced. Raises ValidationError with the translator's reasons."""
    # The translator takes a second to import and long to run: the event loop must not wait for it.
    return await asyncio.to_thread(_translate, copy.deepcopy(template), dict(parameters), region)


def _translate(template: Template, parameters: dict[str, Any], region: str) -> Template:
    from samtranslator.model.exceptions import InvalidDocumentException  # noqa: PLC0415 - see `expand`
    from samtranslator.parser.parser import Parser  # noqa: PLC0415
    from samtranslator.translator.translator import Translator  # noqa: PLC0415
    from samtranslator.utils.py27hash_fix import (  # noqa: PLC0415
        to_py27_compatible_template,
        undo_mark_unicode_str_in_template,
    )

    # The translator warns about its own deprecations, which are no matter of the server's log.
    logging.getLogger("samtranslator").setLevel(logging.ERROR)
    # Of its session the translator reads nothing but the region.
    translator = Translator({}, Parser(), boto_session=SimpleNamespace(region_name=region))
    try:
        to_py27_compatible_template(template, parameters)
        expanded = translator.translate(
            template, parameter_values=parameters, get_managed_policy_map=_managed_policies
        )
    except InvalidDocumentException as error:
        causes = ". ".join(cause.message for cause in error.causes)
        raise invalid(
            f"Transform {TRANSFORM} failed with: Invalid Serverless Application Specification document. "
            f"Number of errors found: {len(error.causes)}. {causes}"
        ) from error
    result: Template = undo_mark_unicode_str_in_template(expanded)
    result.pop("Transform", None)
    return result


def _managed_policies() -> dict[str, str]:
    """Names of AWS's policies that templates use most, to their ARNs; any other is written as an ARN."""
    service = (
        "AWSLambdaBasicExecutionRole",
        "AWSLambdaDynamoDBExecutionRole",
        "AWSLambdaKinesisExecutionRole",
        "AWSLambdaSQSQueueExecutionRole",
        "AWSLambdaVPCAccessExecutionRole",
        "AWSLambdaRole",
        "AmazonAPIGatewayPushToCloudWatchLogs",
    )
    plain = (
        "AdministratorAccess",
        "AWSXRayDaemonWriteAccess",
        "AmazonDynamoDBFullAccess",
        "AmazonDynamoDBReadOnlyAccess",
        "AmazonS3FullAccess",
        "AmazonS3ReadOnlyAccess",
        "AmazonSNSFullAccess",
        "AmazonSQSFullAccess",
        "AmazonSSMReadOnlyAccess",
        "CloudWatchLogsFullAccess",
        "PowerUserAccess",
        "ReadOnlyAccess",
    )
    root = "arn:aws:iam::aws:policy"
    return {
        **{name: f"{root}/service-role/{name}" for name in service},
        **{name: f"{root}/{name}" for name in plain},
    }
