"""Versions of learned words, and which of them counts since when."""

STATEMENTS = (
    """
    CREATE TABLE embedding (
        persona TEXT NOT NULL,
        id TEXT NOT NULL,
        version INTEGER NOT NULL,
        file TEXT NOT NULL,
        token TEXT NOT NULL,
        base_model TEXT NOT NULL,
        base_model_name TEXT NOT NULL,
        reference_set TEXT NOT NULL,
        training TEXT NOT NULL,
        vectors INTEGER NOT NULL,
        score DOUBLE PRECISION,
        metrics TEXT NOT NULL,
        note TEXT NOT NULL,
        created_at TEXT NOT NULL,
        PRIMARY KEY (persona, id),
        UNIQUE (persona, version)
    )
    """,
    """
    CREATE TABLE embedding_current (
        persona TEXT NOT NULL,
        number INTEGER NOT NULL,
        embedding TEXT NOT NULL,
        since TEXT NOT NULL,
        by_whom TEXT NOT NULL,
        why TEXT NOT NULL,
        PRIMARY KEY (persona, number),
        FOREIGN KEY (persona, embedding) REFERENCES embedding (persona, id)
    )
    """,
)
