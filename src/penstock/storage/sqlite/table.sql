-- name: get_document
SELECT body, version FROM document WHERE tbl = ? AND partition = ? AND sort = ?;

-- name: put_document
-- Store a document whatever was there.
INSERT INTO document (tbl, partition, sort, version, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (tbl, partition, sort) DO UPDATE SET version = excluded.version, body = excluded.body;

-- name: add_document
-- Store a document where none was.
INSERT INTO document (tbl, partition, sort, version, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (tbl, partition, sort) DO NOTHING;

-- name: replace_document
-- Store a document over a known version.
UPDATE document SET version = ?1, body = ?2
WHERE tbl = ?3 AND partition = ?4 AND sort = ?5 AND version = ?6;

-- name: delete_document
DELETE FROM document WHERE tbl = ? AND partition = ? AND sort = ?;

-- name: range_up
-- Documents of a partition from `low`, in order.
SELECT sort, body, version FROM document
WHERE tbl = ?1 AND partition = ?2 AND sort >= ?3 AND (?4 IS NULL OR sort < ?4) ORDER BY sort LIMIT ?5;

-- name: range_down
-- Documents of a partition below `high`, in reverse order.
SELECT sort, body, version FROM document
WHERE tbl = ?1 AND partition = ?2 AND sort >= ?3 AND (?4 IS NULL OR sort < ?4) ORDER BY sort DESC LIMIT ?5;

-- name: scan_documents
-- Documents beyond a key, in order of the key.
SELECT partition, sort, body, version FROM document
WHERE tbl = ?1 AND (partition, sort) > (?2, ?3) ORDER BY partition, sort LIMIT ?4;

-- name: scan_first
SELECT partition, sort, body, version FROM document WHERE tbl = ?1 ORDER BY partition, sort LIMIT ?2;

-- name: drop_documents
DELETE FROM document WHERE tbl = ?;

-- name: count_documents
SELECT count(*) FROM document WHERE tbl = ?;
