"""Posts on their way through review to publication: what they are, what happened to them, and how accounts stand."""

STATEMENTS = (
    """
    CREATE TABLE post (
        id TEXT NOT NULL PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        persona TEXT NOT NULL,
        shot TEXT NOT NULL,
        size TEXT NOT NULL,
        state TEXT NOT NULL,
        revision INTEGER NOT NULL,
        kind TEXT NOT NULL,
        account TEXT NOT NULL,
        due_at TEXT NOT NULL,
        zone TEXT NOT NULL,
        caption TEXT NOT NULL,
        hashtags TEXT NOT NULL,
        ai_label INTEGER NOT NULL,
        pictures TEXT NOT NULL,
        prompt TEXT NOT NULL,
        embedding TEXT NOT NULL,
        problem TEXT NOT NULL,
        created_at TEXT NOT NULL,
        changed_at TEXT NOT NULL
    )
    """,
    "CREATE INDEX post_by_state ON post (state, due_at)",
    "CREATE INDEX post_by_persona ON post (persona, due_at)",
    "CREATE INDEX post_by_account ON post (account, state, due_at)",
    """
    CREATE TABLE candidate (
        post TEXT NOT NULL REFERENCES post (id),
        number INTEGER NOT NULL,
        picture TEXT NOT NULL,
        passed INTEGER NOT NULL,
        reason TEXT NOT NULL,
        scores TEXT NOT NULL,
        likeness TEXT NOT NULL,
        PRIMARY KEY (post, number)
    )
    """,
    """
    CREATE TABLE approval (
        post TEXT NOT NULL REFERENCES post (id),
        revision INTEGER NOT NULL,
        hash TEXT NOT NULL,
        content TEXT NOT NULL,
        by_whom TEXT NOT NULL,
        at TEXT NOT NULL,
        PRIMARY KEY (post, revision)
    )
    """,
    """
    CREATE TABLE post_event (
        post TEXT NOT NULL REFERENCES post (id),
        number INTEGER NOT NULL,
        at TEXT NOT NULL,
        by_whom TEXT NOT NULL,
        was TEXT NOT NULL,
        state TEXT NOT NULL,
        revision INTEGER NOT NULL,
        why TEXT NOT NULL,
        PRIMARY KEY (post, number)
    )
    """,
    """
    CREATE TABLE attempt (
        post TEXT NOT NULL REFERENCES post (id),
        revision INTEGER NOT NULL,
        publisher TEXT NOT NULL,
        upload_id TEXT NOT NULL,
        progress TEXT NOT NULL,
        prepared TEXT NOT NULL,
        before TEXT NOT NULL,
        looks TEXT NOT NULL,
        tries INTEGER NOT NULL,
        next_at TEXT NOT NULL,
        error TEXT NOT NULL,
        media_id TEXT NOT NULL,
        permalink TEXT NOT NULL,
        published_at TEXT NOT NULL,
        PRIMARY KEY (post, revision)
    )
    """,
    """
    CREATE TABLE account (
        publisher TEXT NOT NULL,
        name TEXT NOT NULL,
        claimed_by TEXT NOT NULL,
        claimed_until TEXT NOT NULL,
        post TEXT NOT NULL,
        paused_until TEXT NOT NULL,
        pause_why TEXT NOT NULL,
        person INTEGER NOT NULL,
        failures INTEGER NOT NULL,
        PRIMARY KEY (publisher, name)
    )
    """,
)
