"""EventBridge Pipes: each pipe a subscription of the delivery engine, from a queue through an enrichment to a target."""

from penstock.services.pipes.service import Pipes

__all__ = ["Pipes"]
