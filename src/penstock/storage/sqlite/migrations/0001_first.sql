-- The first schema. Instants are milliseconds; names are interned so that keys stay short.

CREATE TABLE counter (
  name TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) WITHOUT ROWID;

-- Queues, logs and tables by name; `ordered` is set once a queue has had a message of a group, `behind` names the
-- queue that holds what tenants with many messages have put.
CREATE TABLE name (
  id INTEGER PRIMARY KEY,
  text TEXT NOT NULL UNIQUE,
  ordered INTEGER NOT NULL DEFAULT 0,
  behind INTEGER NOT NULL DEFAULT 0
);

-- Fixed-size columns first, the payload last: SQLite reads a row only as far as it must.
CREATE TABLE message (
  sequence INTEGER PRIMARY KEY,
  queue INTEGER NOT NULL,
  visible_at INTEGER NOT NULL,
  leases INTEGER NOT NULL,
  sent_at INTEGER NOT NULL,
  first_leased_at INTEGER NOT NULL,
  id TEXT NOT NULL,
  group_name TEXT,
  tenant TEXT,
  dedup TEXT,
  source TEXT,
  attributes BLOB NOT NULL,
  body BLOB NOT NULL
);
CREATE INDEX message_ready ON message (queue, visible_at);
CREATE INDEX message_in_group ON message (queue, group_name, sequence) WHERE group_name IS NOT NULL;
CREATE INDEX message_of_tenant ON message (tenant, queue) WHERE tenant IS NOT NULL;

-- One row for each group that has messages; `visible_at` is that of the group's oldest message.
CREATE TABLE message_group (
  queue INTEGER NOT NULL,
  name TEXT NOT NULL,
  visible_at INTEGER NOT NULL,
  served INTEGER NOT NULL,
  PRIMARY KEY (queue, name)
) WITHOUT ROWID;
CREATE INDEX message_group_ready ON message_group (queue, visible_at, served);

CREATE TABLE dedup (
  queue INTEGER NOT NULL,
  key TEXT NOT NULL,
  at INTEGER NOT NULL,
  id TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  PRIMARY KEY (queue, key)
) WITHOUT ROWID;
CREATE INDEX dedup_age ON dedup (queue, at);

CREATE TABLE entry (
  log INTEGER NOT NULL,
  sequence INTEGER NOT NULL,
  at INTEGER NOT NULL,
  data BLOB NOT NULL,
  PRIMARY KEY (log, sequence)
) WITHOUT ROWID;
CREATE INDEX entry_time ON entry (log, at, sequence);

CREATE TABLE document (
  tbl INTEGER NOT NULL,
  partition BLOB NOT NULL,
  sort BLOB NOT NULL,
  version INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (tbl, partition, sort)
) WITHOUT ROWID;

CREATE TABLE lease (
  name TEXT NOT NULL,
  owner TEXT NOT NULL,
  until INTEGER NOT NULL,
  PRIMARY KEY (name, owner)
) WITHOUT ROWID;
