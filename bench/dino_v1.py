"""The first DINO (ViT-S/16), which DreamBench's published figures are measured with; restage itself uses the second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from models.scoring.clip_weights import first_line
from models.scoring.picture_scorer import PictureScorer
from models.sdxl.pipeline import resolve_device
from models.system.errors import UserError
from models.system.files import expand_path

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Dino(PictureScorer):
    """Pictures as unit vectors: the class token after the last norm, of pictures cut to a square."""

    def __init__(self, folder: Path, device: str = "auto", batch_size: int = 32) -> None:
        import torch
        from torchvision import transforms
        from transformers import ViTModel

        place = expand_path(folder)
        try:
            model, found = ViTModel.from_pretrained(
                place, local_files_only=True, add_pooling_layer=False, dtype=torch.float32, output_loading_info=True
            )
            if missing := found["missing_keys"]:  # they would be random numbers
                raise ValueError(f"its weights lack {min(missing)}")
        except Exception as error:
            raise UserError(
                f"{place} is no folder of a DINO model ({first_line(error)}): name one with config.json and its weights"
            ) from error
        model = model.to(resolve_device(device)).eval().requires_grad_(False)
        super().__init__(model, place, int(model.config.hidden_size), "", "fp32", None, batch_size)
        side = int(model.config.image_size)
        self._transform = transforms.Compose(
            [
                transforms.Resize(round(side * 256 / 224), transforms.InterpolationMode.BICUBIC),
                transforms.CenterCrop(side),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, DEVIATION),
            ]
        )

    def _prepare_picture(self, picture: Image.Image) -> Any:
        return self._transform(picture)

    def _encode_batch(self, batch: Any) -> Any:
        return self.model(batch).last_hidden_state[:, 0]
