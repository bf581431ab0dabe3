-- name: append_entry
INSERT INTO entry (log, sequence, at, data) VALUES (?, ?, ?, ?);

-- name: read_forward
-- Entries beyond a sequence, oldest first.
SELECT sequence, at, data FROM entry WHERE log = ? AND sequence > ? ORDER BY sequence LIMIT ?;

-- name: read_backward
-- Entries before a sequence, newest first.
SELECT sequence, at, data FROM entry WHERE log = ? AND sequence < ? ORDER BY sequence DESC LIMIT ?;

-- name: trim_entries
DELETE FROM entry WHERE log = ? AND at < ?;

-- name: drop_entries
DELETE FROM entry WHERE log = ?;
