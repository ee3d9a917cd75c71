"""The commands `restage generate` and `replay`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from models.system.errors import UserError

OTHER_ENVIRONMENT_EXIT_CODE = 3
SettingsOption = Annotated[
    Path | None,
    typer.Option("--settings", help="The settings file; ./settings.toml where it is not given.", show_default=False),
]


def generate_pictures(
    prompt: Annotated[str, typer.Argument(help='What the picture shows, such as "a teal fox, (portrait:1.2)".')],
    settings: SettingsOption = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=1000, help="How many, by seeds in a row.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the first picture.")] = 0,
    size: Annotated[str, typer.Option(help="Such as 1024x1024; the model's own where it is not given.")] = "",
    negative: Annotated[str | None, typer.Option(help="What the picture should not show.")] = None,
    sampler: Annotated[str | None, typer.Option(help="Such as euler or 'dpm++ 2m karras'.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="How strictly the prompt is followed.")] = None,
    init: Annotated[Path | None, typer.Option(help="A picture to start from.")] = None,
    strength: Annotated[float | None, typer.Option(help="How far to go from that picture, 0 to 1.")] = None,
    lora: Annotated[
        list[str] | None, typer.Option(help="A LoRA file, as FILE or FILE:WEIGHT; may be repeated.")
    ] = None,
    embedding: Annotated[list[Path] | None, typer.Option(help="The file of a learned word; may be repeated.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Also lay the pictures out on this PNG.")] = None,
) -> None:
    """Make pictures of a prompt.

    Example: restage generate "a teal fox in the forest" -n 4 --sheet foxes.png
    """
    from models.sdxl.embedding import read_embedding
    from models.sdxl.prompt_syntax import lint_prompt
    from models.system.files import write_file
    from tasks.pictures import generate as step
    from tasks.settings.settings import load_settings
    from tasks.store.picture_files import PictureFiles

    if strength is not None and init is None:
        raise UserError("--strength says how far to go from a picture: give that picture with --init")
    if sheet:
        _check_png_path(sheet)
    loaded = load_settings(settings)
    machine = step.model_setup(loaded)
    width, height = _parse_size(size)
    changes = {"negative": negative, "sampler": sampler, "steps": steps, "guidance": guidance, "strength": strength}
    changes |= {"width": width, "height": height}
    embeddings = embedding or []
    shots = step.shots_for_seeds(
        loaded, machine, prompt, seed, count, init, embeddings, _parse_loras(lora or []), **changes
    )
    tokens = [read_embedding(path).token for path in embeddings]
    for warning in lint_prompt(prompt, tokens) + lint_prompt(shots[0].negative, tokens):
        typer.secho(f"note: prompt: {warning}", fg=typer.colors.YELLOW, err=True)
    paths = step.generate_pictures(shots, machine, PictureFiles(loaded.studio))
    for path in paths:
        typer.echo(path)
    if sheet:
        write_file(sheet, step.contact_sheet_png(paths, prompt))
        typer.echo(sheet)


def replay_picture(
    picture: Annotated[Path, typer.Argument(help="A PNG made by restage.")],
    settings: SettingsOption = None,
    save: Annotated[Path | None, typer.Option(help="Also write the picture made now to this PNG.")] = None,
) -> None:
    """Make a picture again from what its file says, and compare.

    Ends with 0 where the pixels are identical, with 3 where the environment is another one, and with 1 on any error,
    which different pixels in the same environment are.
    """
    from tasks.pictures import replay as step
    from tasks.settings.settings import load_settings

    if save:
        _check_png_path(save)
    result = step.replay_picture(picture, load_settings(settings))
    if save:
        step.save_result(result, save)
    if result.verdict == "different":
        raise UserError(f"{picture}: {result}")
    typer.echo(f"{picture}: {result}")
    if result.verdict == "other environment":
        raise typer.Exit(OTHER_ENVIRONMENT_EXIT_CODE)


def _parse_size(text: str) -> tuple[int | None, int | None]:
    if not text:
        return None, None
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()) or len(text) > 11:
        raise UserError(f"size {text!r} is not a size: write it as 1024x1024")
    return int(width), int(height)


def _parse_loras(loras: list[str]) -> dict[Path, float]:
    """Parse `ink.safetensors:0.8`, or `ink.safetensors` with weight 1."""
    weights = {}
    for lora in loras:
        path, colon, weight = lora.rpartition(":")
        try:
            weights[Path(path if colon else weight)] = float(weight) if colon else 1.0
        except ValueError:
            weights[Path(lora)] = 1.0  # the colon belongs to the path
    return weights


def _check_png_path(path: Path) -> None:
    """Check the name of the picture before the work starts."""
    if path.is_dir() or path.suffix.lower() != ".png":
        raise UserError(f"{str(path)!r} is not the name of a picture: end it in .png")
