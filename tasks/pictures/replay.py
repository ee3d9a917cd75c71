"""Make a picture again from what its file says, and tell whether it came out the same."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from models.picture import environment, provenance
from models.sdxl import locate, renderer
from models.sdxl.pipeline import Options
from models.sdxl.renderer import Renderer
from models.system.errors import UserError
from models.system.files import write_file
from models.system.progress import show_progress, show_spinner
from tasks.settings.sections import ModelSettings
from tasks.settings.settings import LoadedSettings

Verdict = Literal["identical", "different", "other environment"]


@dataclass(frozen=True)
class Replay:
    """`different` in an equal environment is an error; in another environment it is to be expected."""

    verdict: Verdict
    differences: tuple[str, ...]  # between the environment then and now, the models included
    identical_pixels: bool
    unequal: float  # the share of pixels that differ at all
    largest: int  # the largest difference in any channel, of 255
    psnr: float  # in dB; infinite for identical pixels
    image: Image.Image

    def __str__(self) -> str:
        if self.verdict == "identical":
            return "identical pixels, in an equal environment"
        apart = f"{self.unequal:.2%} of the pixels differ, by at most {self.largest} of 255, PSNR {self.psnr:.1f} dB"
        if self.verdict == "different":
            return (
                f"the same environment gave different pixels ({apart}): something outside the record decides the bits"
            )
        outcome = "identical pixels" if self.identical_pixels else apart
        return "made in a different environment, " + "\n  ".join([f"{outcome}:", *self.differences])


def replay_picture(path: Path, loaded: LoadedSettings) -> Replay:
    """Make the picture at `path` again, as nearly as this machine can in the environment of its record."""
    image, record = provenance.read_picture(path)
    provenance.check_pixels(path, image, record)
    memory = loaded.studio / "cache" / "hashes.json"
    shot = record.shot
    config = loaded.resolve_path(loaded.settings.models.config)
    source = locate.locate_model(loaded.resolve_path(shot.model.name), memory=memory, config=config)
    vae = locate.locate_vae(loaded.resolve_path(shot.vae.name), memory, config) if shot.vae else None
    with show_spinner(f"loading {source.ref.name}"):
        model = renderer.load_renderer(
            source, replace(_as_recorded(record.environment, loaded.settings.models), vae=vae)
        )
    moved = [
        f"{kind}: {then.name} {then.hash[:12]} -> {now.hash[:12]}"
        for kind, then, now in (("model", shot.model, source.ref), ("vae", shot.vae, vae.ref if vae else None))
        if then and now and then != now
    ]
    present = shot.with_changes(model=source.ref, vae=vae.ref if vae else None)
    again = _render_shot(model, present)
    return _compare_pixels(
        image, again, [*moved, *environment.list_differences(record.environment, model.describe_environment())]
    )


def _render_shot(model: Renderer, shot: Any) -> Image.Image:
    with show_progress("replay", shot.denoising_steps, "steps") as advance:
        return next(model.generate([shot], advance)).image


def _as_recorded(environment: Mapping[str, Any], knobs: ModelSettings) -> Options:
    """Return the options under which the picture was made; on another device, those of the settings."""
    from models.picture.environment import device_name
    from models.sdxl.pipeline import resolve_device

    try:
        device = resolve_device(str(environment.get("device")))
    except UserError:
        device = resolve_device(knobs.device)
    is_same_device = environment.get("device") == device and environment.get("device_name") == device_name(device)
    return Options(
        device=device,
        precision=environment.get("dtype", "auto") if is_same_device else knobs.precision,
        memory=environment.get("memory", "none") if is_same_device else knobs.memory,
        compile=environment.get("compile", "off") if is_same_device else knobs.compile,
        batch_size=environment.get("batch_size", 1),
        threads=environment.get("threads", 0),
    )


def _compare_pixels(then: Image.Image, now: Image.Image, differences: list[str]) -> Replay:
    import numpy

    before, after = (numpy.asarray(image.convert("RGB"), dtype=numpy.int16) for image in (then, now))
    gap = numpy.abs(before - after)
    error = float((gap.astype(numpy.float64) ** 2).mean())
    same = error == 0
    verdict: Verdict = "other environment" if differences else "identical" if same else "different"
    psnr = float("inf") if same else float(10 * numpy.log10(255**2 / error))
    return Replay(verdict, tuple(differences), same, float(gap.any(axis=2).mean()), int(gap.max()), psnr, now)


def save_result(result: Replay, path: Path) -> None:
    """Write the picture made now without a record: it is evidence of a comparison, not a picture of the studio."""
    buffer = io.BytesIO()
    result.image.save(buffer, "PNG")
    write_file(path, buffer.getvalue())
