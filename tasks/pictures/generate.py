"""Make the pictures of shots: what exists is left alone, what is done is on disk at once."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.picture import provenance
from models.picture.environment import pixel_hash
from models.picture.reading import open_picture, rgb
from models.picture.shot import Lora, Ref, Shot
from models.sdxl import embedding as words
from models.sdxl import locate, renderer
from models.sdxl.locate import Source
from models.sdxl.pipeline import Options
from models.system.errors import UserError
from models.system.files import is_there
from models.system.progress import bar, waiting
from tasks.pages.contact_sheet import contact_sheet
from tasks.settings.settings import Loaded
from tasks.store.picture_files import Artifacts

BATCH_SMALL, BATCH_LARGE = 4, 1
SMALL_SIDE = 256  # models at home at this size or below are quicker in batches, on a CPU too


@dataclass(frozen=True)
class Machine:
    """A model found on this machine, and how it is to be run here. Cheap: nothing is loaded yet."""

    source: Source
    options: Options


def machine(loaded: Loaded, name: str = "") -> Machine:
    """What the settings say about models, found on disk; `name` takes the place of the settings' own model."""
    knobs = loaded.settings.models
    if name and name != knobs.name:  # what the settings say of their model is not meant for another
        knobs = knobs.model_copy(update={"name": name, "revision": "", "variant": ""})
    memory = loaded.studio / "cache" / "hashes.json"
    config = loaded.place(knobs.config)
    source = locate.locate(loaded.place(knobs.name), knobs.revision, knobs.variant, memory, config)
    options = Options(
        device=knobs.device,
        precision=knobs.precision,
        memory=knobs.memory,
        compile=knobs.compile,
        batch_size=knobs.batch_size or (BATCH_SMALL if source.side <= SMALL_SIDE else BATCH_LARGE),
        threads=knobs.threads,
        vae=locate.locate_vae(loaded.place(knobs.vae), memory, config) if knobs.vae else None,
    )
    return Machine(source, options)


def shots(
    loaded: Loaded,
    machine: Machine,
    prompt: str,
    seed: int = 0,
    count: int = 1,
    init: Path | None = None,
    embeddings: Sequence[Path] = (),
    loras: Mapping[Path, float] | None = None,
    **changes: float | str | None,
) -> list[Shot]:
    """Shots of one prompt that differ by seed. `changes` take the place of what the settings say."""
    knobs = loaded.settings.rendering
    known = {name: getattr(knobs, name) for name in ("sampler", "steps", "guidance", "guidance_until", "negative")}
    known |= dict(zip(("width", "height"), size(loaded, machine), strict=True))
    known |= {name: value for name, value in changes.items() if value is not None}
    if init:
        known["init"] = Ref(str(init.resolve()), pixel_hash(rgb(open_picture(init))))
    known["embeddings"] = tuple(Ref(str(path.resolve()), words.read(path).hash) for path in embeddings)
    known["loras"] = tuple(_lora(path, weight) for path, weight in (loras or {}).items())
    if not prompt.strip():
        raise UserError("the prompt is empty: say what the picture shows")
    vae = machine.options.vae.ref if machine.options.vae else None
    first = Shot(prompt=prompt, model=machine.source.ref, vae=vae, seed=seed, **known)
    return [first.but(seed=seed + number) for number in range(count)]


def series(
    loaded: Loaded,
    machine: Machine,
    prompts: Sequence[str],
    seeds: Sequence[int],
    word: Path | None = None,
    **changes: Any,
) -> list[Shot]:
    """One shot a prompt, each with its own seed; `changes` as in `shots`."""
    if word and (token := words.read(word).token) not in prompts[0]:
        raise UserError(f"{word} is the embedding of {token}, which these prompts do not name: give the persona's own")
    first = shots(loaded, machine, prompts[0], embeddings=[word] if word else (), **changes)[0]
    return [first.but(prompt=prompt, seed=seed) for prompt, seed in zip(prompts, seeds, strict=True)]


def size(loaded: Loaded, machine: Machine) -> tuple[int, int]:
    """Width and height of pictures where nothing else is said."""
    knobs = loaded.settings.rendering
    return knobs.width or machine.source.side, knobs.height or machine.source.side


def _lora(path: Path, weight: float) -> Lora:
    if not (is_there(path) and path.is_file()):
        raise UserError(f"there is no LoRA file at {path}: check the path")
    return Lora(str(path.resolve()), locate.file_hash(path), weight)


def generate(shots: Sequence[Shot], machine: Machine, artifacts: Artifacts, title: str = "pictures") -> list[Path]:
    """The picture of every shot, made where it is missing. Stopped at any moment, the next call goes on from there."""
    missing = artifacts.missing(shots)
    if missing:
        with waiting(f"loading {machine.source.ref.name}"):
            model = renderer.load(machine.source, machine.options)
        with bar(title, sum(shot.denoising_steps for shot in missing), "steps") as advance:
            for picture in model.generate(missing, advance):
                artifacts.save(picture)
    return [artifacts.picture(shot.id) for shot in shots]


def sheet(paths: Sequence[Path], title: str) -> bytes:
    """A contact sheet of pictures of ours, each with its seed, as the bytes of a PNG."""
    records = [provenance.read(path) for path in paths]
    captions = [f"seed {record.shot.seed}\n{record.shot.id}" for _, record in records]
    buffer = io.BytesIO()
    contact_sheet([image for image, _ in records], captions, title).save(buffer, "PNG")
    return buffer.getvalue()
