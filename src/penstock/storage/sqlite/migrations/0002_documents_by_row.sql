-- Documents lie in the order of their writing, found through an index of their keys: a table that is clustered by its key
-- has to read a whole document of more than a kilobyte to compare its key with another.

CREATE TABLE document_by_row (
  tbl INTEGER NOT NULL,
  partition BLOB NOT NULL,
  sort BLOB NOT NULL,
  version INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (tbl, partition, sort)
);
INSERT INTO document_by_row SELECT tbl, partition, sort, version, body FROM document ORDER BY tbl, partition, sort;
DROP TABLE document;
ALTER TABLE document_by_row RENAME TO document;
