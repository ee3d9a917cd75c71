"""Measure what a word shows in its preview pictures, beside the references and beside the class word."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.scoring.word_measures import Seen, Yardstick, who
from tasks.persona.persona import article
from tasks.pictures.scorers import scorers
from tasks.settings.settings import Loaded
from tasks.training.record import Lesson, Measures


class Judge:
    """The scorers and the ends of their scales; pictures are named from the studio."""

    def __init__(self, lesson: Lesson, baseline: Sequence[str], loaded: Loaded) -> None:
        self.studio = loaded.studio
        self._scorer, self._who = scorers(loaded)
        subject = lesson.class_word
        prompts = list(dict.fromkeys(preview.prompt for preview in lesson.previews))
        texts = self._scorer.texts([prompt.replace("{subject}", article(subject)) for prompt in prompts])
        captions = [text.replace(lesson.token, article(subject)) for own in lesson.captions for text in own]
        self._surroundings = np.concatenate([texts, self._scorer.texts(captions)])
        self.yardstick = Yardstick(
            references=self._seen(lesson.pictures),
            plain=self._seen(baseline),
            texts=texts,
            prompts=[prompts.index(preview.prompt) for preview in lesson.previews],
        )

    def measure(self, pictures: Sequence[str]) -> Measures:
        """What these preview pictures, in the order of the lesson's previews, say of the word."""
        return Measures(**self.yardstick.measure(self._seen(pictures)))

    def _seen(self, pictures: Sequence[str]) -> Seen:
        paths = [self.studio / picture for picture in pictures]
        whole = np.stack([vector for _, vector in self._scorer.pictures(paths)])
        if self._who is not None:
            return Seen(whole, np.stack([vector for _, vector in self._who.pictures(paths)]))
        return Seen(whole, who(whole, self._surroundings))
