"""The Queue primitive on SQLite."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from penstock.storage.primitives import Counts, Hold, Leased, LeaseTerms, NewMessage, Stored
from penstock.storage.sql import load_queries
from penstock.storage.sqlite.connection import Connection
from penstock.storage.sqlite.rows import leased_of, parse_receipt, row_of
from penstock.storage.sqlite.tally import Tally

_EXPIRE_AT_ONCE: Final = 5_000
_TRIM_EVERY: Final = 16
_KNOWN_GROUPS: Final = 100_000
# AWS: a tenant with 30 messages in flight or more may count as noisy (SQS developer guide, "fair queues"). Here it is
# judged when a message is put, by all that it has in the queue.
_TENANT_SHARE: Final = 30


class SqliteQueue:
    """Messages in one table; the groups of ordered queues in a second one that says which may be served.

    What tenants with many messages put goes to a queue behind the queue, which is leased from when there is room.
    """

    def __init__(self, connection: Connection, notify: Callable[[str, int], None]) -> None:
        self._db = connection
        self._notify = notify
        self._sql = load_queries("penstock.storage.sqlite", "queue.sql")
        self._put_sql = self._sql["put_message"]
        self._find_sql = self._sql["find_visible"]
        self._lease_sql = self._sql["lease_messages"]
        self._take_dedup_sql = self._sql["take_dedup"]
        self._tallies: dict[int, Tally] = {}
        self._groups: set[tuple[int, str]] = set()
        """Some of the groups that have messages."""
        self._untrimmed: dict[int, int] = {}
        """Deduplication keys that were added since a queue's were last trimmed."""
        connection.on_undo.append(self._undo)

    def _undo(self, stands: int) -> None:
        """Forget what was counted of writes that did not happen."""
        self._groups.clear()
        undone = [number for number, tally in self._tallies.items() if tally.stamp > stands]
        for number in undone:
            del self._tallies[number]

    def _tally(self, queue: int, now: int) -> Tally:
        """The queue's tally, counted once."""
        tally = self._tallies.get(queue)
        if tally is None:
            tally = self._tallies[queue] = Tally()
            tally.total = self._db.read(self._sql["count_messages"], (queue,))[0][0]
            for until, leased, messages in self._db.read(self._sql["count_hidden"], (queue, now)):
                (tally.leased if leased else tally.delayed).add(until, messages)
            # What was counted may yet be undone.
            tally.stamp = self._db.writes
        return tally

    def _numbers(self, queue: str) -> tuple[int, ...]:
        """The queue and, if there is one, the queue behind it."""
        number = self._db.known(queue)
        if number is None:
            return ()
        behind = self._db.behind(number)
        return (number,) if behind is None else (number, behind)

    async def put(
        self, queue: str, messages: Sequence[NewMessage], now: int, *, dedup_since: int | None = 0
    ) -> list[Stored]:
        """Store messages in order; see `primitives.Queue`."""
        number = self._db.name(queue)
        if _is_plain(messages):
            if len(messages) == 1:
                stored = [self._insert(number, messages[0], now)]
            else:
                rows = self._insert_plain([(number, messages)], now)
                stored = [Stored(row[5], row[0]) for row in rows]
        else:
            with self._db.atomic():
                stored = [
                    self._put_one(
                        number if m.tenant is None else self._place(queue, number, m.tenant),
                        m,
                        now,
                        dedup_since,
                    )
                    for m in messages
                ]
        self._notify(queue, len(messages))
        return stored

    async def put_all(
        self,
        packed: Mapping[str, Sequence[NewMessage]],
        now: int,
        *,
        dedup_since: int | None = 0,
    ) -> None:
        """Store messages of several queues; see `primitives.Queue`."""
        if not all(map(_is_plain, packed.values())):
            with self._db.atomic():
                for queue, messages in packed.items():
                    await self.put(queue, messages, now, dedup_since=dedup_since)
            return
        name, notify = self._db.name, self._notify
        self._insert_plain([(name(queue), messages) for queue, messages in packed.items()], now)
        for queue, messages in packed.items():
            notify(queue, len(messages))

    def _place(self, queue: str, number: int, tenant: str) -> int:
        """The queue for a tenant's next message: the one behind when the tenant has many already."""
        behind = self._db.behind(number)
        keys = (tenant, number, behind or number, _TENANT_SHARE)
        if self._db.read(self._sql["count_of_tenant"], keys)[0][0] < _TENANT_SHARE:
            return number
        if behind is None:
            behind = self._db.name(f"{queue}\nbehind")
            self._db.set_behind(number, behind, self._sql["set_behind"])
        return behind

    def _put_one(
        self, queue: int, message: NewMessage, now: int, dedup_since: int | None
    ) -> Stored:
        sequence = self._db.sequence()
        if message.dedup is not None and dedup_since is not None:
            key = (queue, message.dedup, now, message.id, sequence, dedup_since)
            if not self._db.change(self._take_dedup_sql, key):
                found = self._db.read(self._sql["find_dedup"], (queue, message.dedup, dedup_since))
                return Stored(found[0][0], found[0][1], True)
            self._trim_dedup(queue, dedup_since)
        return self._insert(queue, message, now, sequence)

    def _trim_dedup(self, queue: int, before: int) -> None:
        """Now and then forget more keys than were added since, so that the table stays short."""
        added = self._untrimmed.get(queue, 0) + 1
        if added == _TRIM_EVERY:
            self._db.run(self._sql["trim_dedup"], (queue, before, 2 * _TRIM_EVERY))
            added = 0
        self._untrimmed[queue] = added

    def _insert_plain(
        self, packed: Sequence[tuple[int, Sequence[NewMessage]]], now: int
    ) -> list[tuple[Any, ...]]:
        """Store messages without group, tenant and key, by their queues' numbers. Returns their rows."""
        rows: list[tuple[Any, ...]] = []
        sequence = self._db.sequence(sum([len(messages) for _, messages in packed]))
        for queue, messages in packed:
            for message in messages:
                rows.append(row_of(queue, message, now, sequence))
                sequence += 1
        self._db.insert(self._put_sql, rows)
        tallies = self._tallies
        for queue, messages in packed:
            tally = tallies.get(queue)
            if tally is not None:
                tally.total += len(messages)
                for message in messages:
                    if message.visible_at > now:
                        tally.hide(message.visible_at, message.leases)
                tally.stamp = self._db.writes
        return rows

    def _insert(
        self, queue: int, message: NewMessage, now: int, sequence: int | None = None
    ) -> Stored:
        if sequence is None:
            sequence = self._db.sequence()
        self._db.run(self._put_sql, row_of(queue, message, now, sequence))
        tally = self._tallies.get(queue)
        if tally is not None:
            tally.total += 1
            if message.visible_at > now:
                tally.hide(message.visible_at, message.leases)
            tally.stamp = self._db.writes
        if message.group is not None and (queue, message.group) not in self._groups:
            self._db.set_ordered(queue, self._sql["mark_ordered"])
            self._db.run(
                self._sql["add_to_group"], (queue, message.group, message.visible_at, sequence)
            )
            if len(self._groups) >= _KNOWN_GROUPS:
                self._groups.clear()
            self._groups.add((queue, message.group))
        return Stored(message.id, sequence)

    async def lease(self, queue: str, limit: int, terms: LeaseTerms, now: int) -> list[Leased]:
        """Take messages; see `primitives.Queue`."""
        number = self._db.known(queue)
        if number is None:
            return []
        behind = self._db.behind(number)
        if terms.max_leased:
            leased = self._tally(number, now).leased.at(now)
            if behind is not None:
                leased += self._tally(behind, now).leased.at(now)
            limit = min(limit, terms.max_leased - leased)
            if limit <= 0:
                return []
        taken = self._lease_from(number, limit, terms, now)
        if behind is not None and len(taken) < limit:
            taken += self._lease_from(behind, limit - len(taken), terms, now)
        return taken

    def _lease_from(self, queue: int, limit: int, terms: LeaseTerms, now: int) -> list[Leased]:
        if self._db.is_ordered(queue):
            with self._db.atomic():
                taken = self._lease_groups(queue, limit, terms, now)
        else:
            taken = self._lease_free(queue, limit, terms, now)
        tally = self._tallies.get(queue)
        if taken and tally is not None and terms.until > now:
            tally.leased.add(terms.until, len(taken))
            tally.stamp = self._db.writes
        return taken

    def _lease_free(self, queue: int, limit: int, terms: LeaseTerms, now: int) -> list[Leased]:
        taken: list[Leased] = []
        most = sys.maxsize if terms.dead_letter is None else terms.max_leases
        while True:
            rows = self._db.read(self._find_sql, (queue, now, limit - len(taken)))
            fit = []
            for row in rows:
                message = leased_of(row, row[2] + 1, now)
                # Nearly every message is fit, and is seen to be without a call.
                seen_fit = message.sent_at >= terms.oldest and message.leases <= most
                if seen_fit or not self._unfit(queue, message, terms, now):
                    fit.append(message)
            keys = [message.sequence for message in fit]
            self._db.write_in(self._lease_sql, (terms.until, now), keys)
            taken += fit
            if len(fit) == len(rows) or terms.until <= now:
                return taken
            # Where one has expired there may be a million: remove those that wait in few statements.
            self._expire(queue, terms.oldest, _EXPIRE_AT_ONCE)

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
            for row in rows:
                if row[-1] > now:
                    return
                message = leased_of(row[:-1], row[2] + 1, now)
                if self._unfit(queue, message, terms, now):
                    removed += 1
                else:
                    self._db.run(self._lease_sql, (terms.until, now, message.sequence))
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
        self._count_gone(queue, 1)
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
                # AWS: only on a standard queue does retention go on from the first sending (developer guide,
                # "dead-letter queues").
                sent_at=message.sent_at if message.group is None else None,
                leases=message.leases - 1,
            )
            self._insert(self._db.name(terms.dead_letter), moved, now)
            self._notify(terms.dead_letter, 1)
        return True

    def _count_gone(self, queue: int, messages: int) -> None:
        """So many messages less that were not hidden."""
        tally = self._tallies.get(queue)
        if tally is not None:
            tally.total -= messages
            tally.stamp = self._db.writes

    def _place_group(self, queue: int, group: str) -> int | None:
        """Move a group to its place in the order of service. Returns when its oldest message is visible."""
        head = self._db.read(self._sql["group_head"], (queue, group))
        if not head:
            self._groups.discard((queue, group))
            self._db.run(self._sql["drop_group"], (queue, group))
            return None
        visible_at: int = head[0][0]
        self._db.run(self._sql["set_group"], (queue, group, visible_at, self._db.sequence()))
        return visible_at

    async def extend(
        self, queue: str, receipt: str, until: int, now: int, *, strict: bool = True
    ) -> Hold:
        """Move the end of a lease; see `primitives.Queue`."""
        key = parse_receipt(receipt)
        if key is None:
            return Hold.GONE
        for number in self._numbers(queue):
            rows = self._db.read(self._sql["find_lease"], (key[0], number))
            if rows:
                leases, held_until, group = rows[0]
                if strict and (leases != key[1] or held_until <= now):
                    return Hold.ENDED
                self._db.run(self._sql["set_visible"], (until, key[0]))
                self._move_end(number, held_until, until, now)
                if group is not None:
                    self._place_group(number, group)
                self._notify(queue, 1)
                return Hold.DONE
        return Hold.GONE

    def _move_end(self, queue: int, held_until: int, until: int, now: int) -> None:
        tally = self._tallies.get(queue)
        if tally is not None:
            tally.leased.remove(held_until)
            if until > now:
                tally.leased.add(until)
            tally.stamp = self._db.writes

    async def renew(
        self, queue: str, receipts: Sequence[str], held_until: int, until: int, now: int
    ) -> list[Leased] | None:
        """Move the end of leases made together; see `primitives.Queue`."""
        keys = [key for receipt in receipts if (key := parse_receipt(receipt)) is not None]
        found: list[tuple[int, int, str | None]] = []
        for number in self._numbers(queue):
            for sequence, leases in keys:
                rows = self._db.read(self._sql["find_lease"], (sequence, number))
                if rows and rows[0][:2] == (leases, held_until):
                    found.append((sequence, number, rows[0][2]))
        if not found or len(found) != len(receipts) or held_until <= now:
            return None
        renewed: list[Leased] = []
        with self._db.atomic():
            for sequence, number, group in found:
                row = self._db.read(self._sql["find_message"], (sequence,))[0]
                renewed.append(leased_of(row, row[2], now))
                self._db.run(self._sql["set_visible"], (until, sequence))
                self._move_end(number, held_until, until, now)
                if group is not None:
                    self._place_group(number, group)
        return renewed

    async def settle(self, queue: str, receipt: str, now: int, *, strict: bool = False) -> Hold:
        """Remove a leased message; see `primitives.Queue`."""
        number = self._db.known(queue)
        key = parse_receipt(receipt)
        if number is None or key is None:
            return Hold.GONE
        held_at = now if strict else None
        held = self._settle(queue, number, key, held_at)
        if held is Hold.GONE and (behind := self._db.behind(number)) is not None:
            held = self._settle(queue, behind, key, held_at)
        return held

    def _settle(self, queue: str, number: int, key: tuple[int, int], held_at: int | None) -> Hold:
        """Remove a message by its last lease, which must not have ended by `held_at`."""
        if held_at is None:
            rows = self._db.write(self._sql["settle_message"], (key[0], number, key[1]))
        else:
            rows = self._db.write(self._sql["settle_held"], (key[0], number, key[1], held_at))
        if not rows:
            there = self._db.read(self._sql["find_lease"], (key[0], number))
            return Hold.ENDED if there else Hold.GONE
        group, visible_at = rows[0]
        tally = self._tallies.get(number)
        if tally is not None:
            tally.gone(visible_at, key[1])
            tally.stamp = self._db.writes
        if group is not None and self._place_group(number, group) is not None:
            # Those who wait for the group's next message did not know when it would be visible.
            self._notify(queue, 1)
        return Hold.DONE

    async def settle_many(self, queue: str, receipts: Sequence[str], now: int) -> list[Hold]:
        """Remove leased messages; see `primitives.Queue`."""
        number = self._db.known(queue)
        keys = [parse_receipt(receipt) for receipt in receipts]
        gone: set[tuple[int, int] | None] = set()
        if number is not None and not self._db.is_ordered(number):
            alike: dict[int, list[int]] = {}
            for key in keys:
                if key is not None:
                    sequence, leases = key
                    if leases in alike:
                        alike[leases].append(sequence)
                    else:
                        alike[leases] = [sequence]
            for leases, sequences in alike.items():
                gone.update(self._settle_alike(number, sequences, leases))
        if len(gone) == len(keys):
            return [Hold.DONE] * len(keys)
        held = []
        for key, receipt in zip(keys, receipts, strict=True):
            if key in gone:
                gone.remove(key)
                held.append(Hold.DONE)
            else:
                held.append(await self.settle(queue, receipt, now))
        return held

    def _settle_alike(
        self, queue: int, sequences: Sequence[int], leases: int
    ) -> list[tuple[int, int]]:
        """Remove messages that were leased so often. Returns the keys of those that there were."""
        rows = self._db.write_in(self._sql["settle_messages"], (queue, leases), sequences)
        tally = self._tallies.get(queue)
        if tally is not None:
            ends = [row[1] for row in rows]
            for visible_at in set(ends):
                tally.gone(visible_at, leases, ends.count(visible_at))
            tally.stamp = self._db.writes
        return [(row[0], leases) for row in rows]

    async def count(self, queue: str, now: int) -> Counts:
        """Count messages by state; see `primitives.Queue`."""
        total = leased = delayed = 0
        oldest: list[int] = []
        for number in self._numbers(queue):
            tally = self._tally(number, now)
            total += tally.total
            leased += tally.leased.at(now)
            delayed += tally.delayed.at(now)
            sent_at = self._db.read(self._sql["oldest"], (number,))[0][0]
            if sent_at is not None:
                oldest.append(sent_at)
        return Counts(total - leased - delayed, leased, delayed, min(oldest, default=None))

    async def leased(self, queue: str, now: int) -> int:
        """How many messages are leased; see `primitives.Queue`."""
        return sum(self._tally(number, now).leased.at(now) for number in self._numbers(queue))

    async def expire(self, queue: str, before: int, limit: int) -> int:
        """Remove messages that are too old; see `primitives.Queue`."""
        removed = 0
        for number in self._numbers(queue):
            if self._db.read(self._sql["any_visible_before"], (number, before)):
                removed += self._expire(number, before, limit - removed)
        return removed

    def _expire(self, queue: int, before: int, limit: int) -> int:
        with self._db.atomic():
            rows = self._db.write(self._sql["expire_messages"], (queue, before, limit))
            self._count_gone(queue, len(rows))
            for group in dict.fromkeys(row[0] for row in rows if row[0] is not None):
                self._place_group(queue, group)
        return len(rows)

    async def purge(self, queue: str) -> None:
        """Remove every message; see `primitives.Queue`."""
        numbers = self._numbers(queue)
        if not numbers:
            return
        self._groups.clear()
        with self._db.atomic():
            for number in numbers:
                for name in ("purge_messages", "purge_groups", "purge_dedup"):
                    self._db.run(self._sql[name], (number,))
                self._tallies[number] = Tally(stamp=self._db.writes)
            if len(numbers) > 1:
                self._db.set_behind(numbers[0], None, self._sql["set_behind"])

    async def next_due(self, queue: str, now: int) -> int | None:
        """When the next hidden message may be leased; see `primitives.Queue`."""
        due: list[int] = []
        for number in self._numbers(queue):
            name = "next_group_due" if self._db.is_ordered(number) else "next_due"
            due += [row[0] for row in self._db.read(self._sql[name], (number, now))]
        return min(due, default=None)


def _is_plain(messages: Sequence[NewMessage]) -> bool:
    """Whether messages have neither group nor tenant nor key."""
    for message in messages:  # noqa: SIM110 -- a generator for each queue costs more than the look
        if not (message.group is message.tenant is message.dedup is None):
            return False
    return True
