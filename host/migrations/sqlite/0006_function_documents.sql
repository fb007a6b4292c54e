-- How many bytes all documents of each function have, so that the bound on them costs no adding up. Changed in the
-- transaction that stores or deletes a document. A document counts 512 bytes, its name and its JSON text.

CREATE TABLE function_documents (
    function TEXT NOT NULL PRIMARY KEY,
    bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO function_documents (function, bytes)
    SELECT function, sum(512 + octet_length(name) + octet_length(json)) FROM documents GROUP BY function;
