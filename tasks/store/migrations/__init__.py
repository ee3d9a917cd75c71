"""How the store's tables came to be: numbered changes, applied once each and in order.

A change that has been released is never edited; the next one goes into a file of its own, and into the list below. Its
statements are written so that SQLite and PostgreSQL both take them.
"""

from dataclasses import dataclass

from tasks.store.migrations import m0001_embeddings, m0002_posts, m0003_revisions


@dataclass(frozen=True)
class Migration:
    number: int
    name: str
    statements: tuple[str, ...]


ALL_MIGRATIONS = (
    Migration(1, "embeddings", m0001_embeddings.STATEMENTS),
    Migration(2, "posts", m0002_posts.STATEMENTS),
    Migration(3, "revisions", m0003_revisions.STATEMENTS),
)
