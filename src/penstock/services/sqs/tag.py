"""What tags of a queue may be."""

from collections.abc import Mapping

from penstock.services.sqs.message import invalid


def check_tags(queue: str, tags: Mapping[str, str]) -> None:
    """Raise unless a queue may have these tags."""
    if len(tags) > 50:
        raise invalid(f"Too many tags added for queue {queue}.")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128:
            raise invalid("Tag keys must be between 1 and 128 characters in length.")
        if len(value) > 256:
            raise invalid("Tag values must be between 0 and 256 characters in length.")
        if key.lower().startswith("aws:"):
            raise invalid("Tag keys that start with aws: are reserved for system use.")
