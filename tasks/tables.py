"""The tables of the store as queries see them. What makes and changes them is in `migrations`."""

from sqlalchemy import Column, Double, ForeignKeyConstraint, Integer, MetaData, Table, Text, UniqueConstraint

ALL = MetaData()

APPLIED = Table(
    "restage_migration",
    ALL,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("applied_at", Text, nullable=False),
)

EMBEDDING = Table(
    "embedding",
    ALL,
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
    ALL,
    Column("persona", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("embedding", Text, nullable=False),
    Column("since", Text, nullable=False),
    Column("by_whom", Text, nullable=False),
    Column("why", Text, nullable=False),
    ForeignKeyConstraint(["persona", "embedding"], ["embedding.persona", "embedding.id"]),
)
