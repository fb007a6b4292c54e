-- How many bytes all documents of each function have, so that the bound on them costs no adding up. Changed in the
-- transaction that stores or deletes a document, as its last step, so that functions lock their row for a short time. A
-- document counts 512 bytes, its name and its JSON text.

CREATE TABLE function_documents (
    -- UTF-8, as in `documents`.
    function bytea NOT NULL PRIMARY KEY,
    bytes bigint NOT NULL
-- Every document of a function updates its row; with room in its page the row moves without touching the index.
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

INSERT INTO function_documents (function, bytes)
    SELECT function, sum(512 + octet_length(name) + octet_length(json)) FROM documents GROUP BY function;
