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
from models.sdxl.renderer import Model
from models.system.errors import UserError
from models.system.files import write
from models.system.progress import bar, waiting
from tasks.settings.sections import Models
from tasks.settings.settings import Loaded

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
        found = "identical pixels" if self.identical_pixels else apart
        return "made in a different environment, " + "\n  ".join([f"{found}:", *self.differences])


def replay(path: Path, loaded: Loaded) -> Replay:
    """Make the picture at `path` again, as nearly as this machine can in the environment of its record."""
    image, record = provenance.read(path)
    provenance.check_pixels(path, image, record)
    memory = loaded.studio / "cache" / "hashes.json"
    shot = record.shot
    config = loaded.place(loaded.settings.models.config)
    source = locate.locate(loaded.place(shot.model.name), memory=memory, config=config)
    vae = locate.locate_vae(loaded.place(shot.vae.name), memory, config) if shot.vae else None
    with waiting(f"loading {source.ref.name}"):
        model = renderer.load(source, replace(_as_recorded(record.environment, loaded.settings.models), vae=vae))
    moved = [
        f"{kind}: {then.name} {then.hash[:12]} -> {now.hash[:12]}"
        for kind, then, now in (("model", shot.model, source.ref), ("vae", shot.vae, vae.ref if vae else None))
        if then and now and then != now
    ]
    present = shot.but(model=source.ref, vae=vae.ref if vae else None)
    again = _one(model, present)
    return _compare(image, again, [*moved, *environment.differences(record.environment, model.environment())])


def _one(model: Model, shot: Any) -> Image.Image:
    with bar("replay", shot.denoising_steps, "steps") as advance:
        return next(model.generate([shot], advance)).image


def _as_recorded(environment: Mapping[str, Any], knobs: Models) -> Options:
    """The options under which the picture was made; on another device, what the settings say for this one."""
    from models.picture.environment import device_name
    from models.sdxl.pipeline import device_of

    try:
        device = device_of(str(environment.get("device")))
    except UserError:
        device = device_of(knobs.device)
    there = environment.get("device") == device and environment.get("device_name") == device_name(device)
    return Options(
        device=device,
        precision=environment.get("dtype", "auto") if there else knobs.precision,
        memory=environment.get("memory", "none") if there else knobs.memory,
        compile=environment.get("compile", "off") if there else knobs.compile,
        batch_size=environment.get("batch_size", 1),
        threads=environment.get("threads", 0),
    )


def _compare(then: Image.Image, now: Image.Image, differences: list[str]) -> Replay:
    import numpy

    before, after = (numpy.asarray(each.convert("RGB"), dtype=numpy.int16) for each in (then, now))
    gap = numpy.abs(before - after)
    error = float((gap.astype(numpy.float64) ** 2).mean())
    same = error == 0
    verdict: Verdict = "other environment" if differences else "identical" if same else "different"
    psnr = float("inf") if same else float(10 * numpy.log10(255**2 / error))
    return Replay(verdict, tuple(differences), same, float(gap.any(axis=2).mean()), int(gap.max()), psnr, now)


def save(result: Replay, path: Path) -> None:
    """The picture made now, without a record: it is evidence of a comparison, not a picture of the studio."""
    buffer = io.BytesIO()
    result.image.save(buffer, "PNG")
    write(path, buffer.getvalue())
