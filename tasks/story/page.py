"""The story of a persona on one page: its references, its word, its days, what was published, and what to do next."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.system.files import write
from tasks.pages.html import filled, small
from tasks.persona.persona import Persona
from tasks.posts.post import Candidate, Post
from tasks.references.reference_set import ReferenceSet
from tasks.store.picture_files import Artifacts
from tasks.training.record import Training
from tasks.training.summary import lead as learned

LARGE, SMALL = 420, 200
MOST_DROPPED = 16
STEPS = 5
"""Pictures of one preview over the training, after that of the class word."""


@dataclass(frozen=True)
class Told:
    """A post, the pictures that were made for it, and the folder it was published to."""

    post: Post
    candidates: Sequence[Candidate]
    folder: Path | None


@dataclass(frozen=True)
class Story:
    persona: Persona
    references: ReferenceSet
    training: Training
    posts: Sequence[Told]
    problems: Sequence[str]
    pages: Mapping[str, Path]
    """The reports: references, training and render."""


def report(story: Story, page: Path, studio: Path) -> Path:
    """Write the page; its links lead to the reports beside it."""
    shapes = [told.post.content.pictures[0] for told in story.posts if told.post.content.pictures]
    links = {name: Path(os.path.relpath(path, page.parent)).as_posix() for name, path in story.pages.items()}
    content = filled(
        "story.html",
        name=story.persona.name.capitalize(),
        lead=_lead(story),
        shape=f"{shapes[0].width} / {shapes[0].height}" if shapes else "1",
        references=_references(story, studio) | {"page": links["references"]},
        training=_training(story, studio) | {"page": links["training"]},
        days=[_day(told, studio) for told in story.posts],
        rendered=_rendered(story, studio) | {"page": links["render"]},
        published=_published(story),
        next=[
            ("restage init", "a studio of your own, in a few questions"),
            ("restage new persona NAME", "a persona file, each line explained"),
            ("restage references NAME", "candidates, filtered, each with its reason"),
            ("restage train NAME", "the model learns the word"),
            ("restage serve", "schedules, the review page and Prefect's pages"),
        ],
    )
    write(page, content)
    return page


def _lead(story: Story) -> str:
    done = sum(told.post.state == "published" for told in story.posts)
    return (
        f"From one fixed seed and prompt to {len(story.references.choice.order)} reference pictures, from those to a word of "
        f"the model, and with that word to {done} posts. Everything was made on this machine, without a network."
    )


def _references(story: Story, studio: Path) -> dict[str, Any]:
    choice = story.references.choice
    dropped = _one_of_each([(each.code, each) for each in choice.dropped if each.code != "redundant"], MOST_DROPPED)
    return {
        "lead": f"{len(choice.verdicts)} candidates were made of “{story.persona.subject}”, and {len(choice.order)} chosen: they "
        "show one and the same character, and differ in everything else.",
        "chosen": [
            {"src": small(studio / each.candidate.path, LARGE), "text": each.candidate.prompt} for each in choice.chosen
        ],
        "dropped": [{"src": small(studio / each.candidate.path, SMALL), "text": each.reason} for each in dropped],
    }


def _one_of_each(coded: Sequence[tuple[str, Any]], most: int) -> list[Any]:
    """In turns from each kind, so that a common one does not crowd out the others."""
    kinds = {code: [each for other, each in coded if other == code] for code, _ in coded}
    turns = [kind[turn] for turn in range(most) for kind in kinds.values() if turn < len(kind)]
    return turns[:most]


def _training(story: Story, studio: Path) -> dict[str, Any]:
    training = story.training
    points = [point for point in training.points if point.pictures and point.step <= (training.kept or point.step)]
    shown = min(STEPS, len(points))
    picked = [points[round(at * (len(points) - 1) / max(1, shown - 1))] for at in range(shown)]
    pictures = [(f"“{story.persona.class_word}”, before", training.baseline)] if training.baseline else []
    pictures += [(f"step {point.step}", point.pictures) for point in picked]
    look = training.lesson.previews[0] if training.lesson.previews else None
    return {
        "token": training.lesson.token,
        "lead": learned(training),
        "prompt": f"“{look.said_of(training.lesson.token)}”" if look else "",
        "pictures": [{"src": small(studio / each[0], SMALL * 2), "text": text} for text, each in pictures if each],
    }


def _day(told: Told, studio: Path) -> dict[str, Any]:
    post = told.post
    shown = post.content.pictures[0] if post.content.pictures else None
    chosen = next((each for each in told.candidates if shown and each.picture == shown.picture), None)
    done = post.state == "published"
    return {
        "src": small(studio / shown.file, LARGE) if shown else "",
        "alt": shown.alt if shown else "",
        "when": f"{post.content.when:%A, %d %B %Y}",
        "text": post.content.text if shown else "",
        "why": (chosen.reason if chosen else "") or post.problem,
        "published": done,
        "state": "published to a folder" if done else post.state,
    }


def _rendered(story: Story, studio: Path) -> dict[str, Any]:
    artifacts = Artifacts(studio)
    made = sum(len(told.candidates) for told in story.posts)
    failed = [
        (each.reason.partition(":")[0], each) for told in story.posts for each in told.candidates if not each.passed
    ]
    return {
        "lead": f"{len(story.posts)} posts from {made} candidates. The best that passed the gates became the post; the others "
        f"wait beside it, and {len(failed) or 'none'} {'was' if len(failed) < 2 else 'were'} dropped.",
        "problems": list(story.problems),
        "dropped": [
            {"src": small(artifacts.picture(each.picture), SMALL), "text": each.reason}
            for each in _one_of_each(failed, MOST_DROPPED // 2)
        ],
    }


def _published(story: Story) -> dict[str, Any]:
    folders = [told.folder for told in story.posts if told.folder]
    return {
        "lead": "In this demonstration every post was approved automatically; otherwise a person does it, on the board or with "
        f"restage approve. {len(folders)} posts lie on disk exactly as they would go to Instagram: the picture with its "
        "description and its mark of an AI-made picture inside, the caption, and a record of what was approved.",
        "folders": list(_tree(folders)),
    }


def _tree(folders: Sequence[Path]) -> Iterator[str]:
    for folder in sorted(folders):
        files = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        yield f"{folder}/  {'  '.join(files)}"
