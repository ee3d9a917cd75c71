"""Make the pictures of shots: what exists is left alone, what is done is on disk at once."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.picture import provenance
from models.picture.environment import pixel_hash
from models.picture.reading import convert_to_rgb, open_picture
from models.picture.shot import Lora, Ref, Shot
from models.sdxl import embedding as words
from models.sdxl import locate, renderer
from models.sdxl.locate import ModelSource
from models.sdxl.pipeline import Options
from models.system.errors import UserError
from models.system.files import path_exists
from models.system.progress import show_progress, show_spinner
from tasks.pages.contact_sheet import contact_sheet
from tasks.settings.settings import LoadedSettings
from tasks.store.picture_files import PictureFiles

BATCH_SMALL, BATCH_LARGE = 4, 1
MAX_SMALL_SIDE = 256  # models at home at this size or below are quicker in batches, on a CPU too


@dataclass(frozen=True)
class ModelSetup:
    """A model found on this machine, and the options to run it with. Nothing is loaded yet."""

    source: ModelSource
    options: Options


def model_setup(loaded: LoadedSettings, name: str = "") -> ModelSetup:
    """Find the model that the settings name, and its options; `name` replaces the settings' own model."""
    knobs = loaded.settings.models
    if name and name != knobs.name:  # what the settings say of their model is not meant for another
        knobs = knobs.model_copy(update={"name": name, "revision": "", "variant": ""})
    memory = loaded.studio / "cache" / "hashes.json"
    config = loaded.resolve_path(knobs.config)
    source = locate.locate_model(loaded.resolve_path(knobs.name), knobs.revision, knobs.variant, memory, config)
    options = Options(
        device=knobs.device,
        precision=knobs.precision,
        memory=knobs.memory,
        compile=knobs.compile,
        batch_size=knobs.batch_size or (BATCH_SMALL if source.side <= MAX_SMALL_SIDE else BATCH_LARGE),
        threads=knobs.threads,
        vae=locate.locate_vae(loaded.resolve_path(knobs.vae), memory, config) if knobs.vae else None,
    )
    return ModelSetup(source, options)


def shots_for_seeds(
    loaded: LoadedSettings,
    machine: ModelSetup,
    prompt: str,
    seed: int = 0,
    count: int = 1,
    init: Path | None = None,
    embeddings: Sequence[Path] = (),
    loras: Mapping[Path, float] | None = None,
    **changes: float | str | None,
) -> list[Shot]:
    """Return shots of one prompt that differ by seed. `changes` replace what the settings say."""
    knobs = loaded.settings.rendering
    options = {name: getattr(knobs, name) for name in ("sampler", "steps", "guidance", "guidance_until", "negative")}
    options |= dict(zip(("width", "height"), picture_size(loaded, machine), strict=True))
    options |= {name: value for name, value in changes.items() if value is not None}
    if init:
        options["init"] = Ref(str(init.resolve()), pixel_hash(convert_to_rgb(open_picture(init))))
    options["embeddings"] = tuple(Ref(str(path.resolve()), words.read_embedding(path).hash) for path in embeddings)
    options["loras"] = tuple(_lora_ref(path, weight) for path, weight in (loras or {}).items())
    if not prompt.strip():
        raise UserError("the prompt is empty: say what the picture shows")
    vae = machine.options.vae.ref if machine.options.vae else None
    first = Shot(prompt=prompt, model=machine.source.ref, vae=vae, seed=seed, **options)
    return [first.with_changes(seed=seed + number) for number in range(count)]


def shots_for_prompts(
    loaded: LoadedSettings,
    machine: ModelSetup,
    prompts: Sequence[str],
    seeds: Sequence[int],
    word: Path | None = None,
    **changes: Any,
) -> list[Shot]:
    """Return one shot for each prompt, each with its own seed; `changes` as in `shots_for_seeds`."""
    if word and (token := words.read_embedding(word).token) not in prompts[0]:
        raise UserError(f"{word} is the embedding of {token}, which these prompts do not name: give the persona's own")
    first = shots_for_seeds(loaded, machine, prompts[0], embeddings=[word] if word else (), **changes)[0]
    return [first.with_changes(prompt=prompt, seed=seed) for prompt, seed in zip(prompts, seeds, strict=True)]


def picture_size(loaded: LoadedSettings, machine: ModelSetup) -> tuple[int, int]:
    """Return the default width and height of pictures."""
    knobs = loaded.settings.rendering
    return knobs.width or machine.source.side, knobs.height or machine.source.side


def _lora_ref(path: Path, weight: float) -> Lora:
    if not (path_exists(path) and path.is_file()):
        raise UserError(f"there is no LoRA file at {path}: check the path")
    return Lora(str(path.resolve()), locate.file_hash(path), weight)


def generate_pictures(
    shots_for_seeds: Sequence[Shot], machine: ModelSetup, artifacts: PictureFiles, title: str = "pictures"
) -> list[Path]:
    """Make the missing pictures and return the paths of all. After an interruption the next call continues."""
    missing = artifacts.missing_shots(shots_for_seeds)
    if missing:
        with show_spinner(f"loading {machine.source.ref.name}"):
            model = renderer.load_renderer(machine.source, machine.options)
        with show_progress(title, sum(shot.denoising_steps for shot in missing), "steps") as advance:
            for picture in model.generate(missing, advance):
                artifacts.save_picture(picture)
    return [artifacts.picture_path(shot.id) for shot in shots_for_seeds]


def contact_sheet_png(paths: Sequence[Path], title: str) -> bytes:
    """Draw a contact sheet of pictures with their seeds, as the bytes of a PNG file."""
    records = [provenance.read_picture(path) for path in paths]
    captions = [f"seed {record.shot.seed}\n{record.shot.id}" for _, record in records]
    buffer = io.BytesIO()
    contact_sheet([image for image, _ in records], captions, title).save(buffer, "PNG")
    return buffer.getvalue()
