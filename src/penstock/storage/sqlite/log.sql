-- name: append_entry
INSERT INTO entry (log, sequence, at, data) VALUES (?, ?, ?, ?);

-- name: read_forward
-- Entries beyond a sequence, oldest first.
SELECT sequence, at, data FROM entry WHERE log = ? AND sequence > ? ORDER BY sequence LIMIT ?;

-- name: read_backward
-- Entries before a sequence, newest first.
SELECT sequence, at, data FROM entry WHERE log = ? AND sequence < ? ORDER BY sequence DESC LIMIT ?;

-- name: read_earliest
-- Entries between two places in time, oldest first.
SELECT sequence, at, data FROM entry
WHERE log = ?1 AND (at, sequence) > (?2, ?3) AND (at, sequence) < (?4, ?5) ORDER BY at, sequence LIMIT ?6;

-- name: read_latest
-- Entries between two places in time, newest first.
SELECT sequence, at, data FROM entry
WHERE log = ?1 AND (at, sequence) > (?2, ?3) AND (at, sequence) < (?4, ?5) ORDER BY at DESC, sequence DESC LIMIT ?6;

-- name: trim_entries
DELETE FROM entry WHERE log = ? AND at < ?;

-- name: drop_entries
DELETE FROM entry WHERE log = ?;
