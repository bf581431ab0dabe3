"""What tags of a topic may be."""

from collections.abc import Mapping, Sequence

from penstock.services.sns.problem import invalid


def read_tags(tags: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Tags by key. Raises for a key that is there twice."""
    found = {tag["Key"]: tag["Value"] for tag in tags}
    if len(found) != len(tags):
        raise invalid("Duplicated keys are not allowed.")
    return found
