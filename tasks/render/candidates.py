"""Make and measure the candidates of posts. One CandidateRenderer serves a whole render, so slow set-up happens once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from models.picture.shot import Shot
from models.system.errors import UserError
from tasks.calendar.due import shot_message
from tasks.persona.persona import Persona, with_article
from tasks.pictures import generate
from tasks.posts import post_store
from tasks.posts.jpeg import make_jpeg
from tasks.posts.post import PostCandidate
from tasks.references.reference_set import ReferenceSetStore
from tasks.render import due_posts, finish
from tasks.render.gates import CandidateMeasurements, ExistingPicture, best_first
from tasks.render.results import RenderedPost, RenderJob
from tasks.render.shots import candidate_seeds, candidate_shots
from tasks.settings.settings import LoadedSettings
from tasks.store.picture_files import PictureFiles
from tasks.store.store import Store
from tasks.training import previews, versions
from tasks.training.previews import preview_shots

if TYPE_CHECKING:
    from tasks.render.measure import CandidateMeasurer

T = TypeVar("T")
MIN_PREVIEW_SEEDS = 2
"""Seeds for each preview prompt of the class word: two pictures of one prompt show how alike such pictures are."""


@dataclass(eq=False)
class OccurrenceCandidates:
    """A render job with the candidates made for it so far."""

    job: RenderJob
    init_path: Path | None = None
    candidates: list[PostCandidate] = field(default_factory=list)
    shots: dict[str, Shot] = field(default_factory=dict)
    """The shots by picture id."""
    measured: dict[str, CandidateMeasurements] = field(default_factory=dict)

    @property
    def next_number(self) -> int:
        return self.job.first + len(self.candidates)


class CandidateRenderer:
    """The model, the measurer and the embedding of one persona."""

    def __init__(self, persona: Persona, loaded: LoadedSettings, candidates: int = 0) -> None:
        self.persona, self.loaded, self._candidates = persona, loaded, candidates
        self.artifacts, self.gate_settings = PictureFiles(loaded.studio), loaded.settings.gates
        self.notes: list[str] = []
        self._problems: list[str] = []

    def take_problems(self) -> list[str]:
        """Return the problems with single shots since the last call, and forget them."""
        problems, self._problems = self._problems, []
        return problems

    @cached_property
    def model_setup(self) -> generate.ModelSetup:
        return generate.model_setup(self.loaded, self.persona.model)

    @cached_property
    def embedding_version(self) -> versions.Version | None:
        """Return the current version of the persona's embedding; raise if its file is not the registered one."""
        with closing(self._open_store()) as store:
            version = versions.current_version(store, self.persona.name)
        if version:
            versions.load_version(self.loaded.studio, version)
        return version

    @cached_property
    def reference_paths(self) -> list[str]:
        """List the reference pictures of the persona, as paths from the studio."""
        reference_set = ReferenceSetStore(self.loaded.studio, self.persona.name).current_set()
        if reference_set is None or reference_set.token != self.persona.token:
            self.notes.append(
                f"{self.persona.name} has no references for {self.persona.token}, so nobody looks whether the pictures show"
                f" who they should: run restage references {self.persona.name}"
            )
            return []
        pictures = [verdict.candidate.path for verdict in reference_set.choice.chosen]
        return [picture for picture in pictures if (self.loaded.studio / picture).is_file()]

    @cached_property
    def measurer(self) -> CandidateMeasurer:
        from tasks.render.measure import CandidateMeasurer, PictureWithPrompt

        plain = [
            PictureWithPrompt(
                self.artifacts.picture_path(shot.id), preview.prompt_for(with_article(self.persona.class_word))
            )
            for preview, shot in self._class_word_previews()
        ]
        references = [self.loaded.studio / path for path in self.reference_paths]
        return CandidateMeasurer(self.persona, references, plain, self.loaded)

    def render_candidates(self, jobs: Sequence[RenderJob]) -> list[OccurrenceCandidates]:
        """Render first candidates for all jobs together, then more for the jobs where none passed."""
        occurrences = [
            occurrence
            for occurrence in map(OccurrenceCandidates, jobs)
            if self._recording_problems(occurrence, partial(self._check_before_rendering, occurrence))
        ]
        for _ in range(self.gate_settings.rounds):
            short = [occurrence for occurrence in occurrences if not best_first(occurrence.candidates)]
            failed = self._render_more(short)
            occurrences = [occurrence for occurrence in occurrences if occurrence not in failed]
        return occurrences

    def choose_and_store(self, occurrences: Sequence[OccurrenceCandidates]) -> list[RenderedPost]:
        """Choose and store in the order of time, so that a killed run continues exactly as it would have."""
        with closing(self._open_store()) as store:
            pairs: list[tuple[OccurrenceCandidates, PostCandidate | None]] = []
            in_use = self._pictures_in_use(store) if occurrences else []
            for occurrence in occurrences:
                candidate = self._best_unlike_existing(occurrence, in_use)
                if candidate:
                    measurements = occurrence.measured[candidate.picture]
                    in_use.append(
                        ExistingPicture(
                            post_store.post_id(occurrence.job.due.key), measurements.likeness, measurements.seen
                        )
                    )
                pairs.append((occurrence, candidate))
            masters = self._finish_masters([(occurrence, candidate) for occurrence, candidate in pairs if candidate])
            return [
                rendered
                for occurrence, candidate in pairs
                if (rendered := self._store_rendered(store, occurrence, candidate, masters))
            ]

    def _check_before_rendering(self, occurrence: OccurrenceCandidates) -> bool:
        """Check, before rendering, that the texts may be published and that the picture to start from exists."""
        due_posts.post_content(occurrence.job, self.persona, self.loaded)
        if key := occurrence.job.due.init_key:
            with closing(self._open_store()) as store:
                post = post_store.find_by_key(store, key)
            pictures = post.content.pictures[:1] if post else ()
            occurrence.init_path = next((self.artifacts.picture_path(picture.picture) for picture in pictures), None)
            if not occurrence.init_path or not occurrence.init_path.is_file():
                raise UserError(f"init: {key} has no picture to start from: render that day first")
        return True

    def _render_more(self, occurrences: Sequence[OccurrenceCandidates]) -> list[OccurrenceCandidates]:
        """Render and measure more candidates of each occurrence together; return those that cannot be rendered."""
        good = [
            (occurrence, new_shots)
            for occurrence in occurrences
            if (new_shots := self._recording_problems(occurrence, partial(self._next_shots, occurrence)))
        ]
        if not good:
            return list(occurrences)
        plain = [shot for _, shot in self._class_word_previews()]
        try:
            self._generate_pictures([*plain, *(shot for _, new_shots in good for shot in new_shots)])
        except UserError:  # one bad shot must not keep the others from being made
            self._generate_pictures(plain)
            good = [
                (occurrence, new_shots)
                for occurrence, new_shots in good
                if self._recording_problems(occurrence, partial(self._generate_pictures, new_shots))
            ]
        self._measure(good)
        measured_ids = {id(occurrence) for occurrence, _ in good}
        return [occurrence for occurrence in occurrences if id(occurrence) not in measured_ids]

    def _next_shots(self, occurrence: OccurrenceCandidates) -> list[Shot]:
        due = occurrence.job.due
        count = self._candidates or due.entry.candidates or self.gate_settings.candidates
        embedding = self._embedding_for(occurrence.job)
        file = self.loaded.studio / embedding.file if embedding else None
        return candidate_shots(
            due,
            self.persona,
            file,
            self.model_setup,
            self.loaded,
            candidate_seeds(due, count, occurrence.next_number),
            occurrence.init_path,
        )

    def _embedding_for(self, job: RenderJob) -> versions.Version | None:
        """Return the embedding if the prompt names its token."""
        return self.embedding_version if self.persona.token in job.due.words.prompt else None

    def _generate_pictures(self, shots: Sequence[Shot]) -> list[Path]:
        return generate.generate_pictures(shots, self.model_setup, self.artifacts, "candidates")

    def _measure(self, batches: Sequence[tuple[OccurrenceCandidates, Sequence[Shot]]]) -> None:
        from tasks.render.measure import PictureWithPrompt

        pairs = [(occurrence, shot) for occurrence, occurrence_shots in batches for shot in occurrence_shots]
        measurements = self.measurer.measure_candidates(
            [PictureWithPrompt(self.artifacts.picture_path(shot.id), shot.prompt) for _, shot in pairs]
        )
        for (occurrence, shot), measured in zip(pairs, measurements, strict=True):
            occurrence.shots[shot.id], occurrence.measured[shot.id] = shot, measured
            occurrence.candidates.append(
                due_posts.judge_candidate(occurrence.next_number, shot.id, measured, self.persona, self.gate_settings)
            )

    def _pictures_in_use(self, store: Store) -> list[ExistingPicture]:
        """List the pictures in use: all of them with their hashes, the newest of this persona with CLIP vectors."""
        newest = due_posts.recent_pictures(store, self.persona)
        existing = [
            (post, path) for post, picture in newest if (path := self.artifacts.picture_path(picture)).is_file()
        ]
        vectors = self.measurer.vectors([path for _, path in existing])
        recent = [ExistingPicture(post, None, vector) for (post, _), vector in zip(existing, vectors, strict=True)]
        return [*due_posts.used_hashes(store), *recent]

    def _best_unlike_existing(
        self, occurrence: OccurrenceCandidates, in_use: Sequence[ExistingPicture]
    ) -> PostCandidate | None:
        """Return the best candidate that repeats no other post; render more while all of them do."""
        post_id = occurrence.job.post.id if occurrence.job.post else ""
        others = [picture for picture in in_use if picture.post != post_id]
        while True:
            occurrence.candidates = due_posts.reject_duplicates(
                occurrence.candidates, occurrence.measured, others, self.gate_settings
            )
            candidate = due_posts.best_candidate(occurrence.candidates)
            if (
                candidate
                or len(occurrence.candidates) >= self._max_candidates(occurrence)
                or self._render_more([occurrence])
            ):
                return candidate

    def _max_candidates(self, occurrence: OccurrenceCandidates) -> int:
        return self.gate_settings.rounds * (
            self._candidates or occurrence.job.due.entry.candidates or self.gate_settings.candidates
        )

    def _finish_masters(self, choices: Sequence[tuple[OccurrenceCandidates, PostCandidate]]) -> dict[int, Path]:
        """Finish the chosen pictures and return the master of each, by the id() of its occurrence."""
        pairs = [(occurrence.job.due, occurrence.shots[candidate.picture]) for occurrence, candidate in choices]
        try:
            paths = finish.finish_pictures(pairs, self.model_setup, self.artifacts, self.loaded) if pairs else []
            return {id(occurrence): path for (occurrence, _), path in zip(choices, paths, strict=True)}
        except UserError:
            masters = {}
            for (occurrence, _), pair in zip(choices, pairs, strict=True):
                one = partial(finish.finish_pictures, [pair], self.model_setup, self.artifacts, self.loaded)
                if finished := self._recording_problems(occurrence, one):
                    masters[id(occurrence)] = finished[0]
            return masters

    def _store_rendered(
        self, store: Store, occurrence: OccurrenceCandidates, candidate: PostCandidate | None, masters: dict[int, Path]
    ) -> RenderedPost | None:
        if candidate and id(occurrence) not in masters:
            return None  # its problem is recorded
        return self._recording_problems(
            occurrence, partial(self._store_post, store, occurrence, candidate, masters.get(id(occurrence)))
        )

    def _store_post(
        self, store: Store, occurrence: OccurrenceCandidates, chosen: PostCandidate | None, master: Path | None
    ) -> RenderedPost:
        job, candidates = occurrence.job, occurrence.candidates
        content = due_posts.post_content(job, self.persona, self.loaded)
        if chosen and master:
            alt = due_posts.alt_text_for(job, self.persona)
            picture = due_posts.post_picture(make_jpeg(master, job.due.entry.size, alt, self.loaded), master.stem, alt)
            content = replace(content, pictures=(picture,))
            # The finished picture is published, so the candidate carries its id.
            candidates = [
                replace(candidate, picture=master.stem) if candidate == chosen else candidate
                for candidate in candidates
            ]
        embedding = self._embedding_for(job)
        return due_posts.store_post(store, job, content, candidates, chosen, embedding.id if embedding else "")

    def _recording_problems(self, occurrence: OccurrenceCandidates, action: Callable[[], T]) -> T | None:
        """Run the action; record a problem with this one shot, so that the others continue."""
        try:
            return action()
        except UserError as error:
            text = str(error)
            names_file = text.startswith(str(self.persona.file))
            self._problems.append(text if names_file else shot_message(self.persona, occurrence.job.due.shot, text))
            return None

    def _class_word_previews(self) -> Iterator[tuple[previews.Preview, Shot]]:
        """List the preview shots of the class word; a training rendered most of them already."""
        preview_list = previews.list_previews(
            self.persona, max(MIN_PREVIEW_SEEDS, self.loaded.settings.training.preview_seeds)
        )
        return zip(
            preview_list,
            preview_shots(self.persona, preview_list, self.persona.class_word, None, self.loaded),
            strict=True,
        )

    def _open_store(self) -> Store:
        return Store.open(self.loaded.database, self.loaded.studio, clock=self.loaded.clock)
