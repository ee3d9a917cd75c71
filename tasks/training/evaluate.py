"""Measure an embedding's preview pictures against the references and against the class word."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.scoring.word_measures import SubjectVectors, WordMeasurer, remove_surroundings
from tasks.persona.persona import with_article
from tasks.pictures.scorers import load_scorers
from tasks.settings.settings import LoadedSettings
from tasks.training.record import Measures, TrainingPlan


class PreviewEvaluator:
    """Measures preview pictures on scales set by the references and the class word; paths are relative to the studio."""

    def __init__(self, plan: TrainingPlan, baseline: Sequence[str], loaded: LoadedSettings) -> None:
        self.studio = loaded.studio
        self._scorer, self._identity_scorer = load_scorers(loaded)
        subject = plan.class_word
        prompts = list(dict.fromkeys(preview.prompt for preview in plan.previews))
        texts = self._scorer.encode_texts([prompt.replace("{subject}", with_article(subject)) for prompt in prompts])
        captions = [
            text.replace(plan.token, with_article(subject))
            for picture_captions in plan.captions
            for text in picture_captions
        ]
        self._surroundings = np.concatenate([texts, self._scorer.encode_texts(captions)])
        self.word_measurer = WordMeasurer(
            references=self._picture_vectors(plan.pictures),
            plain=self._picture_vectors(baseline),
            texts=texts,
            prompts=[prompts.index(preview.prompt) for preview in plan.previews],
        )

    def measure_pictures(self, pictures: Sequence[str]) -> Measures:
        """Measure these preview pictures, which are in the order of the plan's previews."""
        return Measures(**self.word_measurer.measure_previews(self._picture_vectors(pictures)))

    def _picture_vectors(self, pictures: Sequence[str]) -> SubjectVectors:
        paths = [self.studio / picture for picture in pictures]
        vectors = np.stack([vector for _, vector in self._scorer.encode_pictures(paths)])
        if self._identity_scorer is not None:
            return SubjectVectors(
                vectors, np.stack([vector for _, vector in self._identity_scorer.encode_pictures(paths)])
            )
        return SubjectVectors(vectors, remove_surroundings(vectors, self._surroundings))
