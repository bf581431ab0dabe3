"""SNS: topics, subscriptions, publishing and delivery."""

from penstock.services.sns.service import Sns

__all__ = ["Sns"]
