"""Where the candidates of posts are made and looked at. One stands for a whole render: what costs time is set up once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from models.picture.shot import Shot
from models.system.errors import UserError
from tasks.calendar.due import sentence
from tasks.persona.persona import Persona, article
from tasks.pictures import generate
from tasks.posts import post_store
from tasks.posts.jpeg import ready
from tasks.posts.post import Candidate
from tasks.references.reference_set import Shelf
from tasks.render import due_posts, finish
from tasks.render.gates import Measured, Taken, best_first
from tasks.render.results import Job, Rendered
from tasks.render.shots import seeds, shots
from tasks.settings.settings import Loaded
from tasks.store.picture_files import Artifacts
from tasks.store.store import Store
from tasks.training import previews, versions
from tasks.training.previews import preview_shots

if TYPE_CHECKING:
    from tasks.render.measure import Appraiser

T = TypeVar("T")
LEAST_SEEDS = 2
"""Pictures of the class word for each preview prompt: two of one prompt show how alike such pictures are."""


@dataclass(eq=False)
class Tried:
    """A job with the candidates made for it so far."""

    job: Job
    init: Path | None = None
    candidates: list[Candidate] = field(default_factory=list)
    shots: dict[str, Shot] = field(default_factory=dict)
    """By picture."""
    measured: dict[str, Measured] = field(default_factory=dict)

    @property
    def next(self) -> int:
        return self.job.first + len(self.candidates)


class Easel:
    """The model, the scorer and the word of one persona."""

    def __init__(self, persona: Persona, loaded: Loaded, candidates: int = 0) -> None:
        self.persona, self.loaded, self._candidates = persona, loaded, candidates
        self.artifacts, self.knobs = Artifacts(loaded.studio), loaded.settings.gates
        self.notes: list[str] = []
        self._problems: list[str] = []

    def told(self) -> list[str]:
        """What went wrong with single shots since the last time this was asked."""
        problems, self._problems = self._problems, []
        return problems

    @cached_property
    def machine(self) -> generate.Machine:
        return generate.machine(self.loaded, self.persona.model)

    @cached_property
    def word(self) -> versions.Version | None:
        """The current version of the persona's word, if its file is what was registered."""
        with closing(self._store()) as store:
            found = versions.current(store, self.persona.name)
        if found:
            versions.load(self.loaded.studio, found)
        return found

    @cached_property
    def references(self) -> list[str]:
        """The pictures that show who the persona is, from the studio."""
        found = Shelf(self.loaded.studio, self.persona.name).current()
        if found is None or found.token != self.persona.token:
            self.notes.append(
                f"{self.persona.name} has no references for {self.persona.token}, so nobody looks whether the pictures show"
                f" who they should: run restage references {self.persona.name}"
            )
            return []
        pictures = [verdict.candidate.path for verdict in found.choice.chosen]
        return [each for each in pictures if (self.loaded.studio / each).is_file()]

    @cached_property
    def appraiser(self) -> Appraiser:
        from tasks.render.measure import Appraiser, Asked

        plain = [
            Asked(self.artifacts.picture(shot.id), look.said_of(article(self.persona.class_word)))
            for look, shot in self._plain()
        ]
        references = [self.loaded.studio / each for each in self.references]
        return Appraiser(self.persona, references, plain, self.loaded)

    def try_out(self, jobs: Sequence[Job]) -> list[Tried]:
        """First candidates of all jobs together; then, again together, more of those of which none passed."""
        tried = [each for each in map(Tried, jobs) if self._trying(each, partial(self._begin, each))]
        for _ in range(self.knobs.rounds):
            short = [each for each in tried if not best_first(each.candidates)]
            failed = self._more(short)
            tried = [each for each in tried if each not in failed]
        return tried

    def settle(self, tried: Sequence[Tried]) -> list[Rendered]:
        """Choose in the order of time, so that a run that was killed goes on exactly as it would have."""
        with closing(self._store()) as store:
            pairs: list[tuple[Tried, Candidate | None]] = []
            taken = self._taken(store) if tried else []
            for each in tried:
                chosen = self._unlike(each, taken)
                if chosen:
                    seen = each.measured[chosen.picture]
                    taken.append(Taken(post_store.post_id(each.job.due.key), seen.likeness, seen.seen))
                pairs.append((each, chosen))
            masters = self._finished([(each, chosen) for each, chosen in pairs if chosen])
            return [made for each, chosen in pairs if (made := self._put(store, each, chosen, masters))]

    def _begin(self, tried: Tried) -> bool:
        """Before any picture is made: whether its words may go out, and whether the picture to start from is there."""
        due_posts.content(tried.job, self.persona, self.loaded)
        if key := tried.job.due.init_key:
            with closing(self._store()) as store:
                post = post_store.by_key(store, key)
            shown = post.content.pictures[:1] if post else ()
            tried.init = next((self.artifacts.picture(each.picture) for each in shown), None)
            if not tried.init or not tried.init.is_file():
                raise UserError(f"init: {key} has no picture to start from: render that day first")
        return True

    def _more(self, tried: Sequence[Tried]) -> list[Tried]:
        """So many more candidates of each, made and looked at together; returns those that cannot be made."""
        good = [(each, made) for each in tried if (made := self._trying(each, partial(self._shots, each)))]
        if not good:
            return list(tried)
        plain = [shot for _, shot in self._plain()]
        try:
            self._generate([*plain, *(shot for _, made in good for shot in made)])
        except UserError:  # one bad shot must not keep the others from being made
            self._generate(plain)
            good = [(each, made) for each, made in good if self._trying(each, partial(self._generate, made))]
        self._look(good)
        done = {id(each) for each, _ in good}
        return [each for each in tried if id(each) not in done]

    def _shots(self, tried: Tried) -> list[Shot]:
        due = tried.job.due
        count = self._candidates or due.entry.candidates or self.knobs.candidates
        word = self._word(tried.job)
        file = self.loaded.studio / word.file if word else None
        return shots(due, self.persona, file, self.machine, self.loaded, seeds(due, count, tried.next), tried.init)

    def _word(self, job: Job) -> versions.Version | None:
        """Where the prompt names it."""
        return self.word if self.persona.token in job.due.words.prompt else None

    def _generate(self, wanted: Sequence[Shot]) -> list[Path]:
        return generate.generate(wanted, self.machine, self.artifacts, "candidates")

    def _look(self, made: Sequence[tuple[Tried, Sequence[Shot]]]) -> None:
        from tasks.render.measure import Asked

        pairs = [(each, shot) for each, own in made for shot in own]
        found = self.appraiser.look([Asked(self.artifacts.picture(shot.id), shot.prompt) for _, shot in pairs])
        for (each, shot), measured in zip(pairs, found, strict=True):
            each.shots[shot.id], each.measured[shot.id] = shot, measured
            each.candidates.append(due_posts.judged(each.next, shot.id, measured, self.persona, self.knobs))

    def _taken(self, store: Store) -> list[Taken]:
        """What goes out already: by their hashes all pictures, in CLIP's eyes the newest of this persona."""
        newest = due_posts.newest(store, self.persona)
        there = [(post, path) for post, picture in newest if (path := self.artifacts.picture(picture)).is_file()]
        vectors = self.appraiser.vectors([path for _, path in there])
        seen = [Taken(post, None, vector) for (post, _), vector in zip(there, vectors, strict=True)]
        return [*due_posts.hashes(store), *seen]

    def _unlike(self, tried: Tried, taken: Sequence[Taken]) -> Candidate | None:
        """The best candidate that repeats no other post; more are made where all of them do."""
        own = tried.job.post.id if tried.job.post else ""
        others = [each for each in taken if each.post != own]
        while True:
            tried.candidates = due_posts.compared(tried.candidates, tried.measured, others, self.knobs)
            chosen = due_posts.best(tried.candidates)
            if chosen or len(tried.candidates) >= self._most(tried) or self._more([tried]):
                return chosen

    def _most(self, tried: Tried) -> int:
        return self.knobs.rounds * (self._candidates or tried.job.due.entry.candidates or self.knobs.candidates)

    def _finished(self, chosen: Sequence[tuple[Tried, Candidate]]) -> dict[int, Path]:
        """The master of each, by its place in the run."""
        pairs = [(each.job.due, each.shots[candidate.picture]) for each, candidate in chosen]
        try:
            made = finish.finished(pairs, self.machine, self.artifacts, self.loaded) if pairs else []
            return {id(each): path for (each, _), path in zip(chosen, made, strict=True)}
        except UserError:
            found = {}
            for (each, _), pair in zip(chosen, pairs, strict=True):
                one = partial(finish.finished, [pair], self.machine, self.artifacts, self.loaded)
                if own := self._trying(each, one):
                    found[id(each)] = own[0]
            return found

    def _put(self, store: Store, tried: Tried, chosen: Candidate | None, masters: dict[int, Path]) -> Rendered | None:
        if chosen and id(tried) not in masters:
            return None  # its problem is told
        return self._trying(tried, partial(self._kept, store, tried, chosen, masters.get(id(tried))))

    def _kept(self, store: Store, tried: Tried, chosen: Candidate | None, master: Path | None) -> Rendered:
        job, candidates = tried.job, tried.candidates
        said = due_posts.content(job, self.persona, self.loaded)
        if chosen and master:
            alt = due_posts.alt_of(job, self.persona)
            made = due_posts.shown(ready(master, job.due.entry.size, alt, self.loaded), master.stem, alt)
            said = replace(said, pictures=(made,))
            # What goes out is the finished picture, so the candidate is known by that.
            candidates = [replace(each, picture=master.stem) if each == chosen else each for each in candidates]
        word = self._word(job)
        return due_posts.put(store, job, said, candidates, chosen, word.id if word else "")

    def _trying(self, tried: Tried, what: Callable[[], T]) -> T | None:
        """What goes wrong with one shot is told of it, and the others go on."""
        try:
            return what()
        except UserError as error:
            text = str(error)
            known = text.startswith(str(self.persona.file))
            self._problems.append(text if known else sentence(self.persona, tried.job.due.shot, text))
            return None

    def _plain(self) -> Iterator[tuple[previews.Preview, Shot]]:
        """Pictures of the class word in the preview prompts; a training made most of them already."""
        looks = previews.previews(self.persona, max(LEAST_SEEDS, self.loaded.settings.training.preview_seeds))
        return zip(looks, preview_shots(self.persona, looks, self.persona.class_word, None, self.loaded), strict=True)

    def _store(self) -> Store:
        return Store.open(self.loaded.database, self.loaded.studio, clock=self.loaded.clock)
