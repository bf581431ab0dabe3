"""Amazon SQS: thin words over `store.queue`. A queue's messages live under its ARN."""

from penstock.services.sqs.service import Sqs

__all__ = ["Sqs"]
