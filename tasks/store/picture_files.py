"""The pictures on disk, by shot id. A picture that exists is not made again, and none is ever half written."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from models.picture.shot import Shot
from models.system.files import write_file

if TYPE_CHECKING:
    from models.sdxl.renderer import RenderedPicture


class PictureFiles:
    """The pictures of a studio under one folder. Names come from content, so writing twice changes nothing."""

    def __init__(self, studio: Path) -> None:
        self.root = studio / "artifacts"

    def picture_path(self, shot_id: str) -> Path:
        return self.root / "pictures" / shot_id[:2] / f"{shot_id}.png"

    def relative_path(self, shot_id: str) -> str:
        """Return the picture's path relative to the studio."""
        return self.picture_path(shot_id).relative_to(self.root.parent).as_posix()

    def missing_shots(self, shots: Iterable[Shot]) -> list[Shot]:
        """Return the shots without a picture, each once."""
        return [shot for shot in {shot.id: shot for shot in shots}.values() if not self.picture_path(shot.id).exists()]

    def save_picture(self, picture: "RenderedPicture") -> Path:
        """Write a picture after its provenance, so that whoever sees the picture finds both."""
        path = self.picture_path(picture.shot.id)
        record = picture.provenance.as_json().encode()
        write_file(path.with_suffix(".json"), record)
        write_file(path, picture.encode_png())
        return path
