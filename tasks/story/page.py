"""Write a persona's story on one page: references, training, daily posts, publication, and next steps."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.system.files import write_file
from tasks.pages.html import render_template, thumbnail_data_uri
from tasks.persona.persona import Persona
from tasks.posts.post import Post, PostCandidate
from tasks.references.reference_set import ReferenceSet
from tasks.render.gates import reason_code
from tasks.store.picture_files import PictureFiles
from tasks.training.record import TrainingRecord
from tasks.training.summary import training_summary as learned

LARGE, SMALL = 420, 200
MAX_DROPPED = 16
MAX_PREVIEW_STEPS = 5
"""Number of pictures of one preview over the training, after the class word's."""


@dataclass(frozen=True)
class PostStory:
    """A post, the pictures that were made for it, and the folder it was published to."""

    post: Post
    candidates: Sequence[PostCandidate]
    folder: Path | None


@dataclass(frozen=True)
class Story:
    persona: Persona
    references: ReferenceSet
    training: TrainingRecord
    posts: Sequence[PostStory]
    problems: Sequence[str]
    pages: Mapping[str, Path]
    """The reports: references, training and render."""


def write_page(story: Story, page: Path, studio: Path) -> Path:
    """Write the page; its links lead to the reports beside it."""
    shapes = [post_story.post.content.pictures[0] for post_story in story.posts if post_story.post.content.pictures]
    links = {name: Path(os.path.relpath(path, page.parent)).as_posix() for name, path in story.pages.items()}
    content = render_template(
        "story.html",
        name=story.persona.name.capitalize(),
        lead=_lead_sentence(story),
        shape=f"{shapes[0].width} / {shapes[0].height}" if shapes else "1",
        references=_references_part(story, studio) | {"page": links["references"]},
        training=_training_part(story, studio) | {"page": links["training"]},
        days=[_day_card(post_story, studio) for post_story in story.posts],
        rendered=_rendered_part(story, studio) | {"page": links["render"]},
        published=_published_part(story),
        next=[
            ("restage init", "a studio of your own, in a few questions"),
            ("restage new persona NAME", "a persona file, each line explained"),
            ("restage references NAME", "candidates, filtered, each with its reason"),
            ("restage train NAME", "the model learns the word"),
            ("restage serve", "schedules, the review page and Prefect's pages"),
        ],
    )
    write_file(page, content)
    return page


def _lead_sentence(story: Story) -> str:
    published_count = sum(post_story.post.state == "published" for post_story in story.posts)
    return (
        f"From one fixed seed and prompt to {len(story.references.choice.order)} reference pictures, from those to a word of "
        f"the model, and with that word to {published_count} posts. Everything was made on this machine, without a network."
    )


def _references_part(story: Story, studio: Path) -> dict[str, Any]:
    choice = story.references.choice
    dropped = _mix_kinds(
        [(verdict.code, verdict) for verdict in choice.dropped if verdict.code != "redundant"], MAX_DROPPED
    )
    return {
        "lead": f"{len(choice.verdicts)} candidates were made of “{story.persona.subject}”, and {len(choice.order)} chosen: they "
        "show one and the same character, and differ in everything else.",
        "chosen": [
            {"src": thumbnail_data_uri(studio / verdict.candidate.path, LARGE), "text": verdict.candidate.prompt}
            for verdict in choice.chosen
        ],
        "dropped": [
            {"src": thumbnail_data_uri(studio / verdict.candidate.path, SMALL), "text": verdict.reason}
            for verdict in dropped
        ],
    }


def _mix_kinds(coded: Sequence[tuple[str, Any]], most: int) -> list[Any]:
    """Take items of each kind in alternation, so that a common kind does not hide the others."""
    kinds = {code: [item for other, item in coded if other == code] for code, _ in coded}
    mixed = [kind[position] for position in range(most) for kind in kinds.values() if position < len(kind)]
    return mixed[:most]


def _training_part(story: Story, studio: Path) -> dict[str, Any]:
    training = story.training
    points = [point for point in training.points if point.pictures and point.step <= (training.kept or point.step)]
    count = min(MAX_PREVIEW_STEPS, len(points))
    picked = [points[round(index * (len(points) - 1) / max(1, count - 1))] for index in range(count)]
    pictures = [(f"“{story.persona.class_word}”, before", training.baseline)] if training.baseline else []
    pictures += [(f"step {point.step}", point.pictures) for point in picked]
    preview = training.lesson.previews[0] if training.lesson.previews else None
    return {
        "token": training.lesson.token,
        "lead": learned(training),
        "prompt": f"“{preview.prompt_for(training.lesson.token)}”" if preview else "",
        "pictures": [
            {"src": thumbnail_data_uri(studio / paths[0], SMALL * 2), "text": text} for text, paths in pictures if paths
        ],
    }


def _day_card(post_story: PostStory, studio: Path) -> dict[str, Any]:
    post = post_story.post
    picture = post.content.pictures[0] if post.content.pictures else None
    best_candidate = next(
        (candidate for candidate in post_story.candidates if picture and candidate.picture == picture.picture), None
    )
    is_published = post.state == "published"
    return {
        "src": thumbnail_data_uri(studio / picture.file, LARGE) if picture else "",
        "alt": picture.alt if picture else "",
        "when": f"{post.content.when:%A, %d %B %Y}",
        "text": post.content.text if picture else "",
        "why": (best_candidate.reason if best_candidate else "") or post.problem,
        "published": is_published,
        "state": "published to a folder" if is_published else post.state,
    }


def _rendered_part(story: Story, studio: Path) -> dict[str, Any]:
    artifacts = PictureFiles(studio)
    candidate_count = sum(len(post_story.candidates) for post_story in story.posts)
    failed = [
        (reason_code(candidate.reason), candidate)
        for post_story in story.posts
        for candidate in post_story.candidates
        if not candidate.passed
    ]
    return {
        "lead": f"{len(story.posts)} posts from {candidate_count} candidates. The best that passed the gates became the post; "
        f"the others wait beside it, and {len(failed) or 'none'} {'was' if len(failed) < 2 else 'were'} dropped.",
        "problems": list(story.problems),
        "dropped": [
            {"src": thumbnail_data_uri(artifacts.picture_path(candidate.picture), SMALL), "text": candidate.reason}
            for candidate in _mix_kinds(failed, MAX_DROPPED // 2)
        ],
    }


def _published_part(story: Story) -> dict[str, Any]:
    folders = [post_story.folder for post_story in story.posts if post_story.folder]
    return {
        "lead": "In this demonstration every post was approved automatically; otherwise a person does it, on the board or with "
        f"restage approve. {len(folders)} posts lie on disk exactly as they would go to Instagram: the picture with its "
        "description and its mark of an AI-made picture inside, the caption, and a record of what was approved.",
        "folders": list(_folder_lines(folders)),
    }


def _folder_lines(folders: Sequence[Path]) -> Iterator[str]:
    for folder in sorted(folders):
        files = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        yield f"{folder}/  {'  '.join(files)}"
