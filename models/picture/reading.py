"""Opens pictures safely, whatever the file holds."""

import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from models.system.errors import UserError

MAX_PIXELS = 64_000_000  # far above any useful picture; a decompression bomb is refused before it is unpacked
MAX_ASPECT_RATIO = 20  # a narrower file is no picture, and scaling up its short side would fill the memory
# Pillow's decoders raise all of these on damaged files.
DAMAGE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError, TypeError, KeyError)


def open_picture(path: Path) -> Image.Image:
    """Open a picture, read it fully and rotate it as its EXIF says. Refuse decompression bombs and torn files."""
    limit = f"the limit is {MAX_PIXELS // 1_000_000} megapixels"
    try:
        with (
            warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
            Image.open(path) as image,
        ):
            if image.width * image.height > MAX_PIXELS:
                size = f"{image.width}x{image.height}, {image.width * image.height / 1e6:.0f} megapixels"
                raise UserError(f"{path} is too large ({size}): {limit}")
            if max(image.size) > MAX_ASPECT_RATIO * min(image.size):
                raise UserError(f"{path} is {image.width}x{image.height}, which is no shape for a picture: crop it")
            image.load()
            return ImageOps.exif_transpose(image)
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"there is no picture at {path}: check the path") from None
    except Image.DecompressionBombError:
        raise UserError(f"{path} is too large to open safely: {limit}") from None
    except UnidentifiedImageError:
        raise UserError(f"{path} is not a picture that can be read: use a PNG, JPEG or WebP file") from None
    except DAMAGE_ERRORS as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path} is torn or not a picture ({reason}): get the file again from where it came") from None


def convert_to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB: transparent pixels become white, 16-bit greys keep their range."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode == "F":
        raise UserError("a picture of floating-point pixels has no known range: save it with 8 or 16 bits")
    if image.mode.startswith("I"):  # a plain conversion would clip all but the darkest to white
        image = Image.fromarray((np.clip(np.asarray(image), 0, 65535) // 256).astype(np.uint8))
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque).convert("RGB")
    return image.convert("RGB")
