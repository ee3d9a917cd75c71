"""The command `restage grid`: compare the values of a setting side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def make_grid(
    persona: Annotated[str, typer.Argument(help="The name of a file in prompts/, such as pip, or its path.")],
    x: Annotated[str, typer.Option("--x", help="A field of a shot and its values, such as guidance=3,5,7.5.")],
    y: Annotated[str, typer.Option("--y", help="Another one, such as embedding=none,v1,v2, for the rows.")] = "",
    prompt: Annotated[
        str,
        typer.Option(
            help="What the pictures show; {subject} stands for the persona. Its first preview where not given."
        ),
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="The seed of all pictures, unless an axis says otherwise.")] = 0,
    settings: Annotated[
        Path | None,
        typer.Option(
            "--settings", help="The settings file; ./settings.toml where it is not given.", show_default=False
        ),
    ] = None,
) -> None:
    """Make a labelled grid of pictures over one or two fields: a PNG and a page. Stopped, it goes on where it was.

    Fields: prompt, negative (their values parted by semicolons), sampler, seed, steps, guidance, guidance-until, width, height,
    strength, embedding (versions, files or none), lora (files, as FILE:WEIGHT) and model.

    Example: restage grid pip --x guidance=2,4,7 --y embedding=none,v1

    Example: restage grid pip --x seed=1,2,3,4 --y "prompt={subject} at night; {subject} in the snow"
    """
    from tasks.render.grid import make_grid as run
    from tasks.render.grid_page import NO_AXIS, parse_axis
    from tasks.settings.settings import load_settings

    for path in run(persona, load_settings(settings), parse_axis(x), parse_axis(y) if y else NO_AXIS, prompt, seed):
        typer.echo(path)
