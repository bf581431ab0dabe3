"""EventBridge: buses, rules, targets, archives and replays, connections and API destinations."""

from penstock.services.events.service import Events

__all__ = ["Events"]
