"""From one event to many targets: every delivery a message of a durable queue, handed to its target by ARN.

A service that fans out (SNS, EventBridge, Scheduler, S3's notifications, Lambda's destinations) opens a `Lane`, says by
which schedule its deliveries are tried again and what a dead letter of its own looks like. The rest is here, once.
"""

from penstock.fanout.delivery import Delivery
from penstock.fanout.hand_over import SENDERS, NotYetError, Sender
from penstock.fanout.lane import Engine, Fanout, Lane, Packed, Take, add, put
from penstock.fanout.letters import Letters, QueueExists
from penstock.fanout.log_events import put_log_events
from penstock.fanout.outbound import Outbound, OutboundAnswer
from penstock.fanout.own_lanes import OwnLanes
from penstock.fanout.pace import Pace
from penstock.fanout.policy import Letter, LetterOf, ScheduleOf
from penstock.fanout.work import Work

__all__ = [
    "SENDERS",
    "Delivery",
    "Engine",
    "Fanout",
    "Lane",
    "Letter",
    "LetterOf",
    "Letters",
    "NotYetError",
    "Outbound",
    "OutboundAnswer",
    "OwnLanes",
    "Pace",
    "Packed",
    "QueueExists",
    "ScheduleOf",
    "Sender",
    "Take",
    "Work",
    "add",
    "put",
    "put_log_events",
]
