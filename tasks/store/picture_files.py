"""The pictures on disk, by shot id. A picture that exists is not made again, and none is ever half written."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from models.picture.shot import Shot
from models.system.files import write

if TYPE_CHECKING:
    from models.sdxl.renderer import Picture


class Artifacts:
    """Everything that was made, under one folder. Names come from content, so writing twice changes nothing."""

    def __init__(self, studio: Path) -> None:
        self.root = studio / "artifacts"

    def picture(self, shot_id: str) -> Path:
        return self.root / "pictures" / shot_id[:2] / f"{shot_id}.png"

    def name(self, shot_id: str) -> str:
        """Where the picture is, from the studio."""
        return self.picture(shot_id).relative_to(self.root.parent).as_posix()

    def missing(self, shots: Iterable[Shot]) -> list[Shot]:
        """The shots without a picture, each once."""
        return [shot for shot in {shot.id: shot for shot in shots}.values() if not self.picture(shot.id).exists()]

    def save(self, picture: "Picture") -> Path:
        """Write a picture, its provenance beside it first: whoever sees the picture finds both."""
        path = self.picture(picture.shot.id)
        record = picture.provenance.as_json().encode()
        write(path.with_suffix(".json"), record)
        write(path, picture.png())
        return path
