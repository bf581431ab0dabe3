"""Amazon DynamoDB: items and index entries are documents of `store.table`, ordered by their encoded keys."""

from penstock.services.dynamodb.service import DynamoDb

__all__ = ["DynamoDb"]
