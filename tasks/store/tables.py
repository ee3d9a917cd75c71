"""The tables of the store as queries see them. What makes and changes them is in `migrations`."""

from sqlalchemy import (
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

METADATA = MetaData()

APPLIED = Table(
    "restage_migration",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("applied_at", Text, nullable=False),
)

EMBEDDING = Table(
    "embedding",
    METADATA,
    Column("persona", Text, primary_key=True),
    Column("id", Text, primary_key=True),  # the hash of the word and its vectors
    Column("version", Integer, nullable=False),  # from 1 for each persona
    Column("file", Text, nullable=False),  # from the studio, with forward slashes
    Column("token", Text, nullable=False),
    Column("base_model", Text, nullable=False),
    Column("base_model_name", Text, nullable=False),
    Column("reference_set", Text, nullable=False),
    Column("training", Text, nullable=False),
    Column("vectors", Integer, nullable=False),
    Column("score", Double),
    Column("metrics", Text, nullable=False),  # JSON
    Column("note", Text, nullable=False),
    Column("created_at", Text, nullable=False),  # ISO 8601 in UTC, as all times
    UniqueConstraint("persona", "version"),
)

# Which version counts: the newest row of a persona. Rows are only ever added, so going back is one more.
EMBEDDING_CURRENT = Table(
    "embedding_current",
    METADATA,
    Column("persona", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("embedding", Text, nullable=False),
    Column("since", Text, nullable=False),
    Column("by_whom", Text, nullable=False),
    Column("why", Text, nullable=False),
    ForeignKeyConstraint(["persona", "embedding"], ["embedding.persona", "embedding.id"]),
)

POST = Table(
    "post",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("key", Text, nullable=False, unique=True),  # the occurrence in the calendar: nothing is posted for it twice
    Column("persona", Text, nullable=False),
    Column("shot", Text, nullable=False),
    Column("size", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("revision", Integer, nullable=False),  # from 1; every change of what would go out is a new one
    Column("kind", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("due_at", Text, nullable=False),  # in UTC
    Column("zone", Text, nullable=False),  # whose local time a person is shown
    Column("caption", Text, nullable=False),
    Column("hashtags", Text, nullable=False),  # JSON
    Column("ai_label", Integer, nullable=False),
    Column("pictures", Text, nullable=False),  # JSON
    Column("prompt", Text, nullable=False),
    Column("embedding", Text, nullable=False),  # the hash of the word it was made with
    Column("problem", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("changed_at", Text, nullable=False),
)

CANDIDATE = Table(
    "candidate",
    METADATA,
    Column("post", Text, ForeignKey("post.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),  # from 0, as its seed was derived
    Column("picture", Text, nullable=False),  # its shot's id
    Column("passed", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("scores", Text, nullable=False),  # JSON
    Column("likeness", Text, nullable=False),  # its perceptual hash, in hexadecimal
)

APPROVAL = Table(
    "approval",
    METADATA,
    Column("post", Text, ForeignKey("post.id"), primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("hash", Text, nullable=False),
    Column("content", Text, nullable=False),  # JSON: what was approved, frozen
    Column("by_whom", Text, nullable=False),
    Column("at", Text, nullable=False),
)

POST_EVENT = Table(
    "post_event",
    METADATA,
    Column("post", Text, ForeignKey("post.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", Text, nullable=False),
    Column("by_whom", Text, nullable=False),
    Column("was", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("why", Text, nullable=False),
)

# What would have gone out at each revision.
POST_REVISION = Table(
    "post_revision",
    METADATA,
    Column("post", Text, ForeignKey("post.id"), primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("content", Text, nullable=False),  # JSON
)

# How far the publication of a revision is. Times are as everywhere, and empty where there is none.
ATTEMPT = Table(
    "attempt",
    METADATA,
    Column("post", Text, ForeignKey("post.id"), primary_key=True),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("publisher", Text, nullable=False),
    Column("upload_id", Text, nullable=False),  # minted once
    Column("progress", Text, nullable=False),  # JSON: what of the preparation is there
    Column("prepared", Text, nullable=False),  # JSON: what the commit needs; empty before
    Column("before", Text, nullable=False),  # JSON: how the account stood just before the commit; empty before
    Column("looks", Text, nullable=False),  # JSON: when somebody looked, and what was seen
    Column("tries", Integer, nullable=False),
    Column("next_at", Text, nullable=False),  # not to be touched before
    Column("error", Text, nullable=False),
    Column("media_id", Text, nullable=False),
    Column("permalink", Text, nullable=False),
    Column("published_at", Text, nullable=False),
)

ACCOUNT = Table(
    "account",
    METADATA,
    Column("publisher", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("claimed_by", Text, nullable=False),  # who publishes there now: one at a time
    Column("claimed_until", Text, nullable=False),
    Column("post", Text, nullable=False),  # the one in flight
    Column("paused_until", Text, nullable=False),
    Column("pause_why", Text, nullable=False),
    Column("person", Integer, nullable=False),  # whether somebody has to do something in person first
    Column("failures", Integer, nullable=False),  # in a row
)
