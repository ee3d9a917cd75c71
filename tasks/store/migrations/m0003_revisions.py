"""What a post would have shown and said at each of its revisions, so that a change can be looked at and taken back."""

STATEMENTS = (
    """
    CREATE TABLE post_revision (
        post TEXT NOT NULL REFERENCES post (id),
        revision INTEGER NOT NULL,
        content TEXT NOT NULL,
        PRIMARY KEY (post, revision)
    )
    """,
)
