-- name: put_message
-- Append one message.
INSERT INTO message (sequence, queue, visible_at, leases, sent_at, first_leased_at, id, group_name, dedup, source, attributes, body)
VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?);

-- name: mark_ordered
-- Remember that the queue's messages belong to groups.
UPDATE name SET ordered = 1 WHERE id = ?;

-- name: add_to_group
-- A new group becomes available with its first message; a known group keeps its place.
INSERT INTO message_group (queue, name, visible_at, served) VALUES (?, ?, ?, ?)
ON CONFLICT (queue, name) DO NOTHING;

-- name: find_dedup
-- The message that was put with this key since an instant.
SELECT id, sequence FROM dedup WHERE queue = ? AND key = ? AND at >= ?;

-- name: put_dedup
-- Remember a key; an older use of it has fallen out of the window.
INSERT OR REPLACE INTO dedup (queue, key, at, id, sequence) VALUES (?, ?, ?, ?, ?);

-- name: trim_dedup
-- Forget two keys that fell out of the window: each put removes more than it adds, so the table stays short.
DELETE FROM dedup WHERE (queue, key) IN (
  SELECT queue, key FROM dedup WHERE queue = ?1 AND at < ?2 ORDER BY at LIMIT 2
);

-- name: lease_messages
-- Hide the oldest visible messages and return them, in one statement.
UPDATE message
SET visible_at = ?1,
    leases = leases + 1,
    first_leased_at = CASE first_leased_at WHEN 0 THEN ?2 ELSE first_leased_at END
WHERE sequence IN (
  SELECT sequence FROM message WHERE queue = ?3 AND visible_at <= ?2 ORDER BY visible_at, sequence LIMIT ?4
)
RETURNING sequence, id, leases, sent_at, first_leased_at, body, attributes, group_name, dedup, source;

-- name: ready_groups
-- Groups whose oldest message is visible, the longest waiting first.
SELECT name FROM message_group WHERE queue = ? AND visible_at <= ? ORDER BY visible_at, served LIMIT ?;

-- name: group_prefix
-- The oldest messages of a group.
SELECT sequence, visible_at FROM message WHERE queue = ? AND group_name = ? ORDER BY sequence LIMIT ?;

-- name: lease_message
-- Hide one message and return it.
UPDATE message
SET visible_at = ?1,
    leases = leases + 1,
    first_leased_at = CASE first_leased_at WHEN 0 THEN ?2 ELSE first_leased_at END
WHERE sequence = ?3
RETURNING sequence, id, leases, sent_at, first_leased_at, body, attributes, group_name, dedup, source;

-- name: group_head
-- When the oldest message of a group is visible.
SELECT visible_at FROM message WHERE queue = ? AND group_name = ? ORDER BY sequence LIMIT 1;

-- name: set_group
-- Move a group to its new place in the order of service.
UPDATE message_group SET visible_at = ?3, served = ?4 WHERE queue = ?1 AND name = ?2;

-- name: drop_group
-- A group without messages is gone.
DELETE FROM message_group WHERE queue = ? AND name = ?;

-- name: extend_lease
-- Change the end of the current, unexpired lease.
UPDATE message SET visible_at = ?1
WHERE sequence = ?2 AND queue = ?3 AND leases = ?4 AND visible_at > ?5
RETURNING group_name;

-- name: settle_message
-- Remove a message by its last lease, also after it ended.
DELETE FROM message WHERE sequence = ?1 AND queue = ?2 AND leases = ?3 RETURNING group_name;

-- name: settle_held
-- Remove a message by its current, unexpired lease.
DELETE FROM message WHERE sequence = ?1 AND queue = ?2 AND leases = ?3 AND visible_at > ?4 RETURNING group_name;

-- name: exists
-- Whether a message is still in the queue.
SELECT 1 FROM message WHERE sequence = ? AND queue = ?;

-- name: remove_message
-- Remove a message whoever holds it.
DELETE FROM message WHERE sequence = ?;

-- name: expire_messages
-- Remove messages that wait and were sent before an instant. Nothing is visible before it was sent.
DELETE FROM message WHERE sequence IN (
  SELECT sequence FROM message WHERE queue = ?1 AND visible_at < ?2 AND sent_at < ?2 ORDER BY visible_at LIMIT ?3
);

-- name: any_visible
-- Whether a lease would find anything.
SELECT 1 FROM message WHERE queue = ? AND visible_at <= ? LIMIT 1;

-- name: count_visible
SELECT count(*) FROM message WHERE queue = ? AND visible_at <= ?;

-- name: count_hidden
-- Hidden messages: those leased before, and those that never were (delayed).
SELECT coalesce(sum(leases > 0), 0), coalesce(sum(leases = 0), 0) FROM message WHERE queue = ? AND visible_at > ?;

-- name: oldest
-- When the message that waits longest was sent: a look at the thousand that come next is enough to tell operators.
SELECT min(sent_at) FROM (SELECT sent_at FROM message WHERE queue = ? ORDER BY visible_at LIMIT 1000);

-- name: purge_messages
DELETE FROM message WHERE queue = ?;

-- name: purge_groups
DELETE FROM message_group WHERE queue = ?;

-- name: purge_dedup
DELETE FROM dedup WHERE queue = ?;

-- name: next_due
-- When the next hidden message of a queue becomes visible.
SELECT visible_at FROM message WHERE queue = ? AND visible_at > ? ORDER BY visible_at LIMIT 1;

-- name: next_group_due
-- When the next locked group of a queue becomes available.
SELECT visible_at FROM message_group WHERE queue = ? AND visible_at > ? ORDER BY visible_at LIMIT 1;
