"""What AWS's endpoints still speak and botocore's models no longer say.

Merged into a model as it is read. `flatName` is our own trait: the name under which a flattened list or map appears in the
query protocol.
"""

from typing import Any, Final


def _map(name: str, key: str, value: str) -> dict[str, Any]:
    return {
        "flatName": name,
        "flatKey": key,
        "flatValue": value,
    }


def _error(code: str, status: int = 400) -> dict[str, Any]:
    return {"error": {"code": code, "httpStatusCode": status, "senderFault": True}}


_SIMPLE: Final = "AWS.SimpleQueueService."

# AWS: the query API of SQS outlived its model; names from the API reference and recorded exchanges (2012-11-05).
_SQS_LISTS: Final = {
    "AWSAccountIdList": "AWSAccountId",
    "ActionNameList": "ActionName",
    "AttributeNameList": "AttributeName",
    "BatchResultErrorEntryList": "BatchResultErrorEntry",
    "BinaryList": "BinaryListValue",
    "ChangeMessageVisibilityBatchRequestEntryList": "ChangeMessageVisibilityBatchRequestEntry",
    "ChangeMessageVisibilityBatchResultEntryList": "ChangeMessageVisibilityBatchResultEntry",
    "DeleteMessageBatchRequestEntryList": "DeleteMessageBatchRequestEntry",
    "DeleteMessageBatchResultEntryList": "DeleteMessageBatchResultEntry",
    "ListMessageMoveTasksResultEntryList": "ListMessageMoveTasksResultEntry",
    "MessageAttributeNameList": "MessageAttributeName",
    "MessageList": "Message",
    "MessageSystemAttributeList": "MessageSystemAttributeName",
    "QueueUrlList": "QueueUrl",
    "SendMessageBatchRequestEntryList": "SendMessageBatchRequestEntry",
    "SendMessageBatchResultEntryList": "SendMessageBatchResultEntry",
    "StringList": "StringListValue",
    "TagKeyList": "TagKey",
}

# AWS: legacy codes travel in x-amzn-query-error and in query answers (API reference, "Common errors" of each action).
_SQS_ERRORS: Final = {
    "BatchEntryIdsNotDistinct": _error(_SIMPLE + "BatchEntryIdsNotDistinct"),
    "BatchRequestTooLong": _error(_SIMPLE + "BatchRequestTooLong"),
    "EmptyBatchRequest": _error(_SIMPLE + "EmptyBatchRequest"),
    "InvalidAddress": _error("InvalidAddress", 404),
    "InvalidBatchEntryId": _error(_SIMPLE + "InvalidBatchEntryId"),
    "InvalidSecurity": _error("InvalidSecurity", 403),
    "KmsAccessDenied": _error("KMS.AccessDeniedException"),
    "KmsDisabled": _error("KMS.DisabledException"),
    "KmsInvalidKeyUsage": _error("KMS.InvalidKeyUsageException"),
    "KmsInvalidState": _error("KMS.InvalidStateException"),
    "KmsNotFound": _error("KMS.NotFoundException"),
    "KmsOptInRequired": _error("KMS.OptInRequired", 403),
    "KmsThrottled": _error("KMS.ThrottlingException"),
    "MessageNotInflight": _error(_SIMPLE + "MessageNotInflight"),
    "OverLimit": _error("OverLimit", 403),
    "PurgeQueueInProgress": _error(_SIMPLE + "PurgeQueueInProgress", 403),
    "QueueDeletedRecently": _error(_SIMPLE + "QueueDeletedRecently"),
    "QueueDoesNotExist": _error(_SIMPLE + "NonExistentQueue"),
    "QueueNameExists": _error("QueueAlreadyExists"),
    "RequestThrottled": _error("RequestThrottled", 403),
    "ResourceNotFoundException": _error("ResourceNotFoundException", 404),
    "TooManyEntriesInBatchRequest": _error(_SIMPLE + "TooManyEntriesInBatchRequest"),
    "UnsupportedOperation": _error(_SIMPLE + "UnsupportedOperation"),
}

# AWS: raised by the endpoint, absent from the model; the query API calls them otherwise (recorded, dossier 1.12).
_SQS_UNMODELLED: Final = {
    "InvalidParameterValueException": "InvalidParameterValue",
    "MissingRequiredParameterException": "MissingParameter",
}

# AWS: roots of S3 answers, which the model leaves out because SDKs do not look at them (S3 API reference).
_S3_ROOTS: Final = {
    "CompleteMultipartUploadOutput": "CompleteMultipartUploadResult",
    "CreateMultipartUploadOutput": "InitiateMultipartUploadResult",
    "CreateSessionOutput": "CreateSessionResult",
    "DeleteObjectsOutput": "DeleteResult",
    "GetBucketAccelerateConfigurationOutput": "AccelerateConfiguration",
    "GetBucketAclOutput": "AccessControlPolicy",
    "GetBucketCorsOutput": "CORSConfiguration",
    "GetBucketLifecycleConfigurationOutput": "LifecycleConfiguration",
    "GetBucketLoggingOutput": "BucketLoggingStatus",
    "GetBucketRequestPaymentOutput": "RequestPaymentConfiguration",
    "GetBucketTaggingOutput": "Tagging",
    "GetBucketVersioningOutput": "VersioningConfiguration",
    "GetBucketWebsiteOutput": "WebsiteConfiguration",
    "GetObjectAclOutput": "AccessControlPolicy",
    "GetObjectAttributesOutput": "GetObjectAttributesResponse",
    "GetObjectTaggingOutput": "Tagging",
    "ListBucketsOutput": "ListAllMyBucketsResult",
    "ListMultipartUploadsOutput": "ListMultipartUploadsResult",
    "ListObjectVersionsOutput": "ListVersionsResult",
    "ListObjectsOutput": "ListBucketResult",
    "ListObjectsV2Output": "ListBucketResult",
    "ListPartsOutput": "ListPartsResult",
    "NotificationConfiguration": "NotificationConfiguration",
}

OVERLAYS: Final[dict[str, dict[str, Any]]] = {
    "apigateway": {
        # AWS: an ARN holds slashes, and servers may hand over a path in which encoded ones cannot be told from plain ones.
        "operations": {
            name: {"http": {"requestUri": "/tags/{resource_arn+}"}}
            for name in ("GetTags", "TagResource", "UntagResource")
        },
    },
    "cloudformation": {
        # A parameter without a key is none, though the model, which serves answers as well, would take it.
        "shapes": {"Parameter": {"required": ["ParameterKey"]}},
    },
    "dynamodb": {
        # AWS: the model makes them optional for replicas of a global table; any other table is refused without them.
        "shapes": {
            "CreateTableInput": {"required": ["AttributeDefinitions", "TableName", "KeySchema"]}
        },
    },
    "s3": {
        "metadata": {"xmlNamespace": "http://s3.amazonaws.com/doc/2006-03-01/"},
        # AWS: the model says 200 (recorded by LocalStack).
        "operations": {
            "PutBucketPolicy": {"http": {"responseCode": 204}},
            "PutBucketTagging": {"http": {"responseCode": 204}},
        },
        "shapes": {
            **{name: {"locationName": root} for name, root in _S3_ROOTS.items()},
            # AWS: the whole answer is `<LocationConstraint>region</LocationConstraint>`, not a structure around it.
            "GetBucketLocationOutput": {
                "payload": "LocationConstraint",
                "members": {"LocationConstraint": {"xmlText": True}},
            },
        },
    },
    "sns": {
        # AWS: what these lack is told in SNS's own words, or after something else (recorded by LocalStack).
        "shapes": {
            "SetPlatformApplicationAttributesInput": {"required": ["PlatformApplicationArn"]},
            "UnsubscribeInput": {"required": []},
        },
    },
    "sqs": {
        "metadata": {
            "protocols": ["json", "query"],
            "xmlNamespace": "http://queue.amazonaws.com/doc/2012-11-05/",
        },
        "shapes": {
            **{name: {"flatName": flat} for name, flat in _SQS_LISTS.items()},
            "MessageBodyAttributeMap": _map("MessageAttribute", "Name", "Value"),
            "MessageBodySystemAttributeMap": _map("MessageSystemAttribute", "Name", "Value"),
            "MessageSystemAttributeMap": _map("Attribute", "Name", "Value"),
            "QueueAttributeMap": _map("Attribute", "Name", "Value"),
            "TagMap": _map("Tag", "Key", "Value"),
            **_SQS_ERRORS,
            **{
                name: {"type": "structure", "members": {}, "exception": True, **_error(code)}
                for name, code in _SQS_UNMODELLED.items()
            },
        },
    },
}
