-- name: put_message
-- Append one message: sequence, queue, visible_at, leases, sent_at, first_leased_at, id, group_name, tenant, dedup,
-- source, attributes, body.
INSERT INTO message VALUES (?,?,?,?,?,0,?,?,?,?,?,?,?);

-- name: mark_ordered
-- Remember that the queue's messages belong to groups.
UPDATE name SET ordered = 1 WHERE id = ?;

-- name: set_behind
-- Remember which queue waits behind this one.
UPDATE name SET behind = ? WHERE id = ?;

-- name: count_of_tenant
-- How many messages a tenant has in a queue and the one behind it, as far as it matters.
SELECT count(*) FROM (SELECT 1 FROM message WHERE tenant = ? AND queue IN (?, ?) LIMIT ?);

-- name: add_to_group
-- A new group becomes available with its first message; a known group keeps its place.
INSERT INTO message_group (queue, name, visible_at, served) VALUES (?, ?, ?, ?)
ON CONFLICT (queue, name) DO NOTHING;

-- name: find_dedup
-- The message that was put with this key since an instant.
SELECT id, sequence FROM dedup WHERE queue = ? AND key = ? AND at >= ?;

-- name: take_dedup
-- Remember a key, unless it was used within the window.
INSERT INTO dedup (queue, key, at, id, sequence) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (queue, key) DO UPDATE SET at = excluded.at, id = excluded.id, sequence = excluded.sequence WHERE at < ?6;

-- name: trim_dedup
-- Forget keys that fell out of the window.
DELETE FROM dedup WHERE (queue, key) IN (
  SELECT queue, key FROM dedup WHERE queue = ?1 AND at < ?2 ORDER BY at LIMIT ?3
);

-- name: find_visible
-- The oldest visible messages. Reading them and hiding each takes half as long as UPDATE ... RETURNING.
SELECT sequence, id, leases, sent_at, first_leased_at, body, attributes, group_name, dedup, source
FROM message WHERE queue = ? AND visible_at <= ? ORDER BY visible_at, sequence LIMIT ?;

-- name: ready_groups
-- Groups whose oldest message is visible, the longest waiting first.
SELECT name FROM message_group WHERE queue = ? AND visible_at <= ? ORDER BY visible_at, served LIMIT ?;

-- name: group_prefix
-- The oldest messages of a group.
SELECT sequence, id, leases, sent_at, first_leased_at, body, attributes, group_name, dedup, source, visible_at
FROM message WHERE queue = ? AND group_name = ? ORDER BY sequence LIMIT ?;

-- name: lease_messages
-- Hide messages.
UPDATE message
SET visible_at = ?1,
    leases = leases + 1,
    first_leased_at = CASE first_leased_at WHEN 0 THEN ?2 ELSE first_leased_at END
WHERE sequence IN (?);

-- name: group_head
-- When the oldest message of a group is visible.
SELECT visible_at FROM message WHERE queue = ? AND group_name = ? ORDER BY sequence LIMIT 1;

-- name: set_group
-- Move a group to its new place in the order of service.
UPDATE message_group SET visible_at = ?3, served = ?4 WHERE queue = ?1 AND name = ?2;

-- name: drop_group
-- A group without messages is gone.
DELETE FROM message_group WHERE queue = ? AND name = ?;

-- name: find_lease
-- The lease that a message has, and its group.
SELECT leases, visible_at, group_name FROM message WHERE sequence = ? AND queue = ?;

-- name: set_visible
-- Change when a message is visible.
UPDATE message SET visible_at = ?1 WHERE sequence = ?2;

-- name: find_message
-- One message.
SELECT sequence, id, leases, sent_at, first_leased_at, body, attributes, group_name, dedup, source
FROM message WHERE sequence = ?;

-- name: settle_message
-- Remove a message by its last lease, also after it ended.
DELETE FROM message WHERE sequence = ?1 AND queue = ?2 AND leases = ?3 RETURNING group_name, visible_at;

-- name: settle_messages
-- The same of several that were leased as often, which tell themselves. The sign keeps SQLite from reading all of the queue.
DELETE FROM message WHERE +queue = ?1 AND leases = ?2 AND sequence IN (?) RETURNING sequence, visible_at;

-- name: settle_held
-- Remove a message by its current, unexpired lease.
DELETE FROM message WHERE sequence = ?1 AND queue = ?2 AND leases = ?3 AND visible_at > ?4
RETURNING group_name, visible_at;

-- name: remove_message
-- Remove a message whoever holds it.
DELETE FROM message WHERE sequence = ?;

-- name: any_visible_before
-- Whether a message has been visible since before an instant.
SELECT 1 FROM message WHERE queue = ? AND visible_at < ? LIMIT 1;

-- name: expire_messages
-- Remove messages that wait and were sent before an instant. Nothing is visible before it was sent.
DELETE FROM message WHERE sequence IN (
  SELECT sequence FROM message WHERE queue = ?1 AND visible_at < ?2 AND sent_at < ?2 ORDER BY visible_at LIMIT ?3
)
RETURNING group_name;

-- name: count_messages
-- All messages of a queue: where its tally begins.
SELECT count(*) FROM message WHERE queue = ?;

-- name: count_hidden
-- Hidden messages by the end of their hiding: those leased before, and those that never were (delayed).
SELECT visible_at, leases > 0, count(*) FROM message WHERE queue = ? AND visible_at > ? GROUP BY 1, 2;

-- name: oldest
-- When the message that waits longest was sent: a look at the thousand that come next is enough to tell operators.
SELECT min(sent_at) FROM (SELECT sent_at FROM message WHERE queue = ? ORDER BY visible_at LIMIT 1000);

-- name: purge_messages
-- Remove all messages of a queue.
DELETE FROM message WHERE queue = ?;

-- name: purge_groups
-- A queue without messages has no groups.
DELETE FROM message_group WHERE queue = ?;

-- name: purge_dedup
-- AWS: a purge forgets the deduplication ids too (recorded by LocalStack).
DELETE FROM dedup WHERE queue = ?;

-- name: next_due
-- When the next hidden message of a queue becomes visible.
SELECT visible_at FROM message WHERE queue = ? AND visible_at > ? ORDER BY visible_at LIMIT 1;

-- name: next_group_due
-- When the next locked group of a queue becomes available.
SELECT visible_at FROM message_group WHERE queue = ? AND visible_at > ? ORDER BY visible_at LIMIT 1;
