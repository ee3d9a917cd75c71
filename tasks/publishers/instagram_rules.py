"""State the limits of Instagram for pictures, which hold for every way to it; a dry run shows what it would accept."""

from tasks.publishers.kind import PlaceRules

INSTAGRAM_RULES = PlaceRules(
    place="Instagram",
    jpeg_bytes=8_000_000,
    min_width=320,
    feed_size=(1080, 1350),
    story_size=(1080, 1920),
    feed_shape=(4, 5),
    story_shape=(9, 16),
    widest_ratio=1.91,
)
