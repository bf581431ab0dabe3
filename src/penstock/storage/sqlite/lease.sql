-- name: expire_leases
DELETE FROM lease WHERE name = ? AND until <= ?;

-- name: take_lease
-- Take or renew a place while fewer than `limit` others hold one.
INSERT INTO lease (name, owner, until)
SELECT ?1, ?2, ?3 WHERE (SELECT count(*) FROM lease WHERE name = ?1 AND owner <> ?2) < ?4
ON CONFLICT (name, owner) DO UPDATE SET until = excluded.until RETURNING until;

-- name: release_lease
DELETE FROM lease WHERE name = ? AND owner = ?;
