"""The Queue primitive on SQLite."""

from collections.abc import Callable, Sequence
from typing import Final

from penstock.storage.primitives import Counts, Hold, Leased, LeaseTerms, NewMessage, Stored
from penstock.storage.sql import load_queries
from penstock.storage.sqlite.connection import Connection

_EXPIRE_AT_ONCE: Final = 5_000


class SqliteQueue:
    """Messages in one table; the groups of ordered queues in a second one that says which may be served."""

    def __init__(self, connection: Connection, notify: Callable[[str, int], None]) -> None:
        self._db = connection
        self._notify = notify
        self._sql = load_queries("penstock.storage.sqlite", "queue.sql")
        self._put_sql = self._sql["put_message"]
        self._lease_sql = self._sql["lease_messages"]

    async def put(
        self, queue: str, messages: Sequence[NewMessage], now: int, *, dedup_since: int = 0
    ) -> list[Stored]:
        """Store messages in order; see `primitives.Queue`."""
        number = self._db.name(queue)
        if len(messages) == 1 and messages[0].group is None and messages[0].dedup is None:
            stored = [self._insert(number, messages[0], now)]
        else:
            with self._db.atomic():
                stored = [self._put_one(number, m, now, dedup_since) for m in messages]
        self._notify(queue, len(messages))
        return stored

    def _put_one(self, queue: int, message: NewMessage, now: int, dedup_since: int) -> Stored:
        if message.dedup is None:
            return self._insert(queue, message, now)
        found = self._db.read(self._sql["find_dedup"], (queue, message.dedup, dedup_since))
        if found:
            return Stored(found[0][0], found[0][1], True)
        stored = self._insert(queue, message, now)
        self._db.run(
            self._sql["put_dedup"], (queue, message.dedup, now, message.id, stored.sequence)
        )
        self._db.run(self._sql["trim_dedup"], (queue, dedup_since))
        return stored

    def _insert(self, queue: int, message: NewMessage, now: int) -> Stored:
        sequence = self._db.sequence()
        self._db.run(
            self._put_sql,
            (
                sequence,
                queue,
                message.visible_at,
                message.leases,
                now if message.sent_at is None else message.sent_at,
                message.id,
                message.group,
                message.dedup,
                message.source,
                message.attributes,
                message.body,
            ),
        )
        if message.group is not None:
            self._db.set_ordered(queue, self._sql["mark_ordered"])
            self._db.run(
                self._sql["add_to_group"], (queue, message.group, message.visible_at, sequence)
            )
        return Stored(message.id, sequence)

    async def lease(self, queue: str, limit: int, terms: LeaseTerms, now: int) -> list[Leased]:
        """Take messages; see `primitives.Queue`."""
        number = self._db.known(queue)
        if number is None:
            return []
        if self._db.is_ordered(number):
            with self._db.atomic():
                return self._lease_groups(number, limit, terms, now)
        # A look that finds nothing must not cost a write.
        if not self._db.read(self._sql["any_visible"], (number, now)):
            return []
        return self._lease_free(number, limit, terms, now)

    def _lease_free(self, queue: int, limit: int, terms: LeaseTerms, now: int) -> list[Leased]:
        taken: list[Leased] = []
        while True:
            rows = self._db.write(self._lease_sql, (terms.until, now, queue, limit - len(taken)))
            rows.sort()
            removed = 0
            for row in rows:
                message = _leased(row)
                if self._unfit(queue, message, terms, now):
                    removed += 1
                else:
                    taken.append(message)
            if not removed or terms.until <= now:
                return taken
            # Where one has expired there may be a million: remove those that wait in few statements.
            self._db.run(self._sql["expire_messages"], (queue, terms.oldest, _EXPIRE_AT_ONCE))

    def _lease_groups(self, queue: int, limit: int, terms: LeaseTerms, now: int) -> list[Leased]:
        taken: list[Leased] = []
        while True:
            groups = self._db.read(self._sql["ready_groups"], (queue, now, limit))
            for (group,) in groups:
                self._lease_group(queue, group, taken, limit, terms, now)
                self._place_group(queue, group)
                if len(taken) >= limit:
                    return taken
            # Groups that only had messages to remove have given way to others.
            if taken or not groups or terms.until <= now:
                return taken

    def _lease_group(
        self, queue: int, group: str, taken: list[Leased], limit: int, terms: LeaseTerms, now: int
    ) -> None:
        """Take the visible prefix of a group, going on beyond messages that are removed on the way."""
        while len(taken) < limit:
            rows = self._db.read(self._sql["group_prefix"], (queue, group, limit - len(taken)))
            removed = 0
            for sequence, visible_at in rows:
                if visible_at > now:
                    return
                row = self._db.write(self._sql["lease_message"], (terms.until, now, sequence))[0]
                message = _leased(row)
                if self._unfit(queue, message, terms, now):
                    removed += 1
                else:
                    taken.append(message)
            if not removed or terms.until <= now:
                return

    def _unfit(self, queue: int, message: Leased, terms: LeaseTerms, now: int) -> bool:
        """Remove a message that has expired or was leased too often; the latter goes to its dead-letter queue."""
        expired = message.sent_at < terms.oldest
        dead = terms.dead_letter is not None and message.leases > terms.max_leases
        if not (expired or dead):
            return False
        self._db.run(self._sql["remove_message"], (message.sequence,))
        if dead and not expired:
            assert terms.dead_letter is not None
            moved = NewMessage(
                id=message.id,
                body=message.body,
                attributes=message.attributes,
                visible_at=now,
                group=message.group,
                dedup=message.dedup,
                source=terms.source,
                sent_at=message.sent_at,
                leases=message.leases - 1,
            )
            self._insert(self._db.name(terms.dead_letter), moved, now)
            self._notify(terms.dead_letter, 1)
        return True

    def _place_group(self, queue: int, group: str) -> None:
        head = self._db.read(self._sql["group_head"], (queue, group))
        if head:
            self._db.run(self._sql["set_group"], (queue, group, head[0][0], self._db.sequence()))
        else:
            self._db.run(self._sql["drop_group"], (queue, group))

    async def extend(self, queue: str, receipt: str, until: int, now: int) -> Hold:
        """Move the end of a lease; see `primitives.Queue`."""
        number = self._db.known(queue)
        key = _parse_receipt(receipt)
        if number is None or key is None:
            return Hold.GONE
        rows = self._db.write(self._sql["extend_lease"], (until, key[0], number, key[1], now))
        if not rows:
            return self._absence(number, key[0])
        if rows[0][0] is not None:
            self._place_group(number, rows[0][0])
        self._notify(queue, 1)
        return Hold.DONE

    async def settle(self, queue: str, receipt: str, now: int, *, strict: bool = False) -> Hold:
        """Remove a leased message; see `primitives.Queue`."""
        number = self._db.known(queue)
        key = _parse_receipt(receipt)
        if number is None or key is None:
            return Hold.GONE
        if strict:
            rows = self._db.write(self._sql["settle_held"], (key[0], number, key[1], now))
        else:
            rows = self._db.write(self._sql["settle_message"], (key[0], number, key[1]))
        if not rows:
            return self._absence(number, key[0])
        if rows[0][0] is not None:
            self._place_group(number, rows[0][0])
            self._notify(queue, 1)
        return Hold.DONE

    def _absence(self, queue: int, sequence: int) -> Hold:
        return Hold.ENDED if self._db.read(self._sql["exists"], (sequence, queue)) else Hold.GONE

    async def settle_many(self, queue: str, receipts: Sequence[str], now: int) -> None:
        """Remove leased messages; see `primitives.Queue`."""
        for receipt in receipts:
            await self.settle(queue, receipt, now)

    async def count(self, queue: str, now: int) -> Counts:
        """Count messages by state; see `primitives.Queue`."""
        number = self._db.known(queue)
        if number is None:
            return Counts(0, 0, 0, None)
        visible = self._db.read(self._sql["count_visible"], (number, now))[0][0]
        leased, delayed = self._db.read(self._sql["count_hidden"], (number, now))[0]
        oldest = self._db.read(self._sql["oldest"], (number,))
        return Counts(visible, leased, delayed, oldest[0][0] if oldest else None)

    async def purge(self, queue: str) -> None:
        """Remove every message; see `primitives.Queue`."""
        number = self._db.known(queue)
        if number is None:
            return
        with self._db.atomic():
            for name in ("purge_messages", "purge_groups", "purge_dedup"):
                self._db.run(self._sql[name], (number,))

    async def next_due(self, queue: str, now: int) -> int | None:
        """When the next hidden message may be leased; see `primitives.Queue`."""
        number = self._db.known(queue)
        if number is None:
            return None
        name = "next_group_due" if self._db.is_ordered(number) else "next_due"
        rows = self._db.read(self._sql[name], (number, now))
        return rows[0][0] if rows else None


def _leased(row: tuple[object, ...]) -> Leased:
    sequence, id_, leases, sent_at, first, body, attributes, group, dedup, source = row
    return Leased(
        id_,  # type: ignore[arg-type]
        f"{sequence}-{leases}",
        sequence,  # type: ignore[arg-type]
        body,  # type: ignore[arg-type]
        attributes,  # type: ignore[arg-type]
        sent_at,  # type: ignore[arg-type]
        first,  # type: ignore[arg-type]
        leases,  # type: ignore[arg-type]
        group,  # type: ignore[arg-type]
        dedup,  # type: ignore[arg-type]
        source,  # type: ignore[arg-type]
    )


def _parse_receipt(receipt: str) -> tuple[int, int] | None:
    sequence, _, leases = receipt.partition("-")
    if sequence.isascii() and sequence.isdigit() and leases.isascii() and leases.isdigit():
        return int(sequence), int(leases)
    return None
