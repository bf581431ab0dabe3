"""AWS's wire formats: which operation a request means, what it says, and how the answer is written."""

from penstock.wire.operation import Operation
from penstock.wire.route import Wire

__all__ = ["Operation", "Wire"]
