"""The DreamBench protocol: every subject learned from its pictures, every prompt rendered four times, and scored.

    python -m bench.dreambench --subjects FOLDER --prompts FILE --model MODEL [--clip NAME] [--dino FOLDER]

FOLDER holds a folder of pictures for each subject, FILE the public list of classes and prompts. DINO and CLIP-I are the mean
likeness of made to real pictures, CLIP-T that of made pictures to their prompt with the class in place of the word. The published
rows use DINO ViT-S/16 and CLIP ViT-B/32; with other scorers the figures do not compare with them, and the table says so.

Words and scores are kept under --work for each subject, so that it can be stopped and goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench import page
from bench.dino_v1 import Dino
from bench.dreambench_files import PUBLISHED, PUBLISHED_CLIP, SCORES, Prompts, Subject, prompts, subjects, worded
from models.inversion import Config, TrainingExample, train_token
from models.picture.shot import Ref, Shot
from models.scoring import clip
from models.scoring.picture_scorer import PictureScorer
from models.sdxl import embedding, locate
from models.sdxl.embedding import Embedding
from models.sdxl.pipeline import Options
from models.sdxl.renderer import Renderer
from models.system.errors import UserError
from models.system.files import write_file
from tasks.training.run import mean_embedding

TOKEN = "<subject>"
CAPTIONS = ("a photo of {}", "a picture of {}", "a close-up photo of {}", "a bright photo of {}")


@dataclass(frozen=True)
class Way:
    """How words are learned and pictures made."""

    train_steps: int
    images: int
    steps: int
    guidance: float
    vectors: int

    def name(self, model: Renderer, subject: Subject, scorers: Sequence[str]) -> str:
        """Of the row on disk: another way, model, scorer or another picture is another row."""
        files = [hashlib.sha256(each.read_bytes()).hexdigest() for each in subject.pictures]
        about = [repr(self), model.source.ref.hash, *scorers, *files]
        return f"{subject.name}-{hashlib.sha256(' '.join(about).encode()).hexdigest()[:12]}"


class Scorers:
    """CLIP, and DINO where it is at hand."""

    def __init__(self, clip_name: str, dino: Path | None, device: str) -> None:
        self.clip = clip.load_clip(clip_name, device=device)
        self.dino = Dino(dino, device) if dino else None
        self.names = (clip_name, str(dino or ""))

    def measure(self, made: Sequence[Image.Image], texts: Sequence[str], real: Sequence[Image.Image]) -> dict[str, Any]:
        of_made, of_real = vectors(self.clip, made), vectors(self.clip, real)
        said = self.clip.encode_texts(list(texts))
        row: dict[str, Any] = {"clip_i": float((of_made @ of_real.T).mean()), "real clip_i": apart(of_real)}
        row["clip_t"] = float((of_made * said).sum(axis=1).mean())
        if self.dino:
            seen, known = vectors(self.dino, made), vectors(self.dino, real)
            row |= {"dino": float((seen @ known.T).mean()), "real dino": apart(known)}
        return row


def vectors(scorer: PictureScorer, pictures: Sequence[Image.Image]) -> np.ndarray:
    return np.stack([vector for _, vector in scorer.encode_pictures(pictures)])


def apart(known: np.ndarray) -> float | None:
    """The mean likeness of different real pictures of one subject; None of a single one."""
    others = ~np.eye(len(known), dtype=bool)
    return float((known @ known.T)[others].mean()) if len(known) > 1 else None


def learned(subject: Subject, phrase: str, way: Way, model: Renderer) -> Embedding:
    """The mean of the last three words, a fiftieth step apart where there are so many."""
    captions = [text.format(TOKEN) for text in CAPTIONS]
    config = Config(token=TOKEN, init=phrase, steps=way.train_steps, vectors=way.vectors)
    wanted = [way.train_steps - 50 * back for back in range(3) if way.train_steps > 50 * back]
    examples = [TrainingExample(picture, captions) for picture in subject.pictures]
    return mean_embedding(
        [record.current_embedding for record in train_token(model, examples, config) if record.step in wanted]
    )


def shots(templates: Sequence[str], word: Path, embedding: Embedding, way: Way, model: Renderer) -> list[Shot]:
    side = model.source.side
    look: dict[str, Any] = {"width": side, "height": side, "steps": way.steps, "guidance": way.guidance}
    refs = (Ref(str(word), embedding.hash),)
    return [
        Shot(prompt=worded(text, TOKEN), model=model.source.ref, seed=1000 * place + number, embeddings=refs, **look)
        for place, text in enumerate(templates)
        for number in range(way.images)
    ]


def measured(
    subject: Subject, asked: Prompts, way: Way, model: Renderer, scorers: Scorers, work: Path
) -> dict[str, Any]:
    """One subject; what was done already is read."""
    name = way.name(model, subject, scorers.names)
    path = work / "rows" / f"{name}.json"
    if path.exists():
        return json.loads(path.read_text())
    templates, phrase = asked.of(subject.name), asked.class_of(subject.name)
    word = work / "words" / f"{name}.safetensors"
    if not word.exists():
        embedding.write_embedding(word, learned(subject, phrase, way, model), {})
    wanted = shots(templates, word, embedding.read_embedding(word, TOKEN), way, model)
    made = {picture.shot.id: picture.image for picture in model.generate(wanted)}
    texts = [worded(text, phrase) for text in templates for _ in range(way.images)]
    real = [Image.open(path).convert("RGB") for path in subject.pictures]
    row = {"subject": subject.name, "class": phrase, "pictures": len(wanted)}
    row |= scorers.measure([made[shot.id] for shot in wanted], texts, real)
    write_file(path, (json.dumps(row, indent=1) + "\n").encode())
    return row


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Means over the subjects that have a figure."""
    found: dict[str, float | None] = {"subjects": len(rows), "pictures": sum(row["pictures"] for row in rows)}
    for name in (*SCORES, "real dino", "real clip_i"):
        values = [row[name] for row in rows if row.get(name) is not None]
        found[name] = float(np.mean(values)) if values else None
    return found


def table(found: dict[str, Any], comparable: bool) -> Iterator[str]:
    yield f"{'':34} {'DINO':>7} {'CLIP-I':>7} {'CLIP-T':>7}"
    for name, *values in PUBLISHED:
        yield line(f"{name} (published)", values)
    yield line("real images, here", (found["real dino"], found["real clip_i"], None))
    yield line(f"restage, {found['subjects']} subjects", [found[name] for name in SCORES])
    if found["dino"] is None:
        yield "DINO is left out: its weights are not at hand; name their folder with --dino."
    if not comparable:
        yield f"CLIP here is not {PUBLISHED_CLIP}, so these figures do not compare with the published ones."


def line(name: str, values: Sequence[float | None]) -> str:
    return f"{name:34} " + " ".join("      -" if value is None else f"{value:7.3f}" for value in values)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=Path, required=True)
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--model", default="toybox")
    parser.add_argument("--clip", default=PUBLISHED_CLIP, help="toybox, or an open_clip name with its weights")
    parser.add_argument("--dino", type=Path, help="folder of DINO ViT-S/16; without it DINO is left out")
    parser.add_argument("--train-steps", type=int, default=500)
    parser.add_argument("--vectors", type=int, default=8)
    parser.add_argument("--images", type=int, default=4, help="of each prompt")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--guidance", type=float, default=7.5)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--work", type=Path, default=Path("bench/work/dreambench"))
    parser.add_argument("--out", type=Path, default=Path("bench/results/dreambench.json"))
    parser.add_argument("--publish", action="store_true", help="also write the result into docs/benchmarks.md")
    asked = parser.parse_args()
    try:
        everyone, wanted = subjects(asked.subjects), prompts(asked.prompts)
        scorers = Scorers(asked.clip, asked.dino, asked.device)
        source = locate.locate_model(asked.model, memory=Path("bench/work/hashes.json"))
        model = Renderer(source, Options(device=asked.device, batch_size=asked.batch))
        way = Way(asked.train_steps, asked.images, asked.steps, asked.guidance, asked.vectors)
        rows = []
        for subject in everyone:
            rows.append(measured(subject, wanted, way, model, scorers, asked.work))
            print(json.dumps(rows[-1]), flush=True)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    found = {"summary": summary(rows), "subjects": rows}
    write_file(asked.out, (json.dumps(found, indent=1) + "\n").encode())
    if asked.publish:
        about = {"model": asked.model, "clip": asked.clip, "summary": found["summary"]}
        page.publish(json.loads((page.DOCS / "benchmarks.json").read_text()) | {"dreambench": about})
    print("\n".join(table(found["summary"], asked.clip == PUBLISHED_CLIP)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
