"""How the identity scorer that ships is made."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from transformers import CLIPTokenizer

from models import clip, toybox
from models.toybox import world
from models.toybox.drawing import SIDE
from models.toybox.recipe import families
from models.toybox.recipe.clip import new_clip, write_clip
from models.toybox.recipe.drawings import drawings
from models.toybox.recipe.families import MEMBERS, VIEWS, family_pictures, member_at
from models.toybox.recipe.identity import WARMTH, contrast_of, load_identity, train_identity, zoomed
from models.toybox.recipe.numbers import TINY
from models.toybox.recipe.tokenizers import END, write_tokenizer

FAMILY = MEMBERS * VIEWS


def test_a_family_is_close_and_each_view_shows_the_same_one() -> None:
    scenes, kinds = set(), set()
    for family in range(6):
        members = [[member_at(3, family * FAMILY + m * VIEWS + v) for v in range(VIEWS)] for m in range(MEMBERS)]
        for views in members:
            assert len({world.identity(critter) for critter in views}) == 1
            assert all(world.fits(critter) for critter in views)
            scenes |= {critter.scene for critter in views}
        origin = world.identity(members[0][0])
        for views in members[1:]:
            apart = [a != b for a, b in zip(origin, world.identity(views[0]), strict=True)]
            assert sum(apart[:2]) <= 1
        kinds.add(origin[:2])
    assert len(scenes) == len(world.SCENES)
    assert len(kinds) > 1


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionXLPipeline:
    return StableDiffusionXLPipeline.from_pretrained(toybox.folder(), torch_dtype=torch.float32)


def test_half_of_the_drawings_go_through_the_model_and_a_killed_run_ends_the_same(
    pipeline: StableDiffusionXLPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(families, "BATCH", 1)
    drawn = drawings(3, 8, tmp_path / "drawn.npy", at=member_at)
    whole = family_pictures(lambda: pipeline, 3, 8, tmp_path / "whole.npy", SIDE)
    as_drawn = [0, 1, 4, 5]
    assert (whole[as_drawn] == drawn[as_drawn]).all()
    far = np.abs(whole.astype(int) - drawn).mean((1, 2, 3))
    assert all(1 < far[i] < 60 for i in (2, 3, 6, 7))

    decoded, calls = families._decoded, []

    def decode_until_killed(*given: Any) -> np.ndarray:
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return decoded(*given)

    monkeypatch.setattr(families, "_decoded", decode_until_killed)
    with pytest.raises(KeyboardInterrupt):
        family_pictures(lambda: pipeline, 3, 8, tmp_path / "killed.npy", SIDE)
    assert not (tmp_path / "killed.npy").exists()
    assert (family_pictures(lambda: pipeline, 3, 8, tmp_path / "killed.npy", SIDE) == whole).all()
    assert len(calls) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"drawn.npy", "whole.npy", "killed.npy"}


def test_contrast_is_least_where_friends_are_near_and_strangers_far() -> None:
    friends = torch.eye(4).repeat_interleave(2, 0)
    who = ["a", "a", "b", "b", "c", "c", "d", "d"]
    near = float(contrast_of(friends, who))
    assert near == pytest.approx(np.log1p(6 * np.exp(-1 / WARMTH)), rel=1e-3)
    assert float(contrast_of(friends, who[::2] * 2)) > near + 5


def test_contrast_leaves_out_who_has_no_friend() -> None:
    pictures = torch.nn.functional.normalize(torch.randn(3, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    assert torch.isfinite(contrast_of(pictures, ["a", "a", "b"]))


def test_zooming_moves_each_picture_by_itself() -> None:
    pictures = torch.linspace(-1, 1, 32).expand(4, 3, 32, 32)
    seen = zoomed(pictures, torch.Generator().manual_seed(1))
    assert seen.shape == pictures.shape
    assert all((seen[i] - seen[j]).abs().max() > 0.01 for i in range(4) for j in range(i))
    assert torch.equal(seen, zoomed(pictures, torch.Generator().manual_seed(1)))


def test_what_was_trained_is_what_loads(tmp_path: Path) -> None:
    drawn = drawings(
        TINY.seed + 10, TINY.families, tmp_path / "families.npy", at=member_at, kept=(TINY.clip_side, TINY.clip_side)
    )
    write_tokenizer(tmp_path / "tokenizer", END)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "tokenizer")
    made = new_clip(TINY, len(tokenizer))
    before = made.visual.state_dict()["conv1.weight"].clone()
    rows = list(train_identity(TINY, drawn, made, tmp_path, torch.device("cpu")))
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    write_clip(load_identity(new_clip(TINY, len(tokenizer)), tmp_path), TINY, len(tokenizer), tmp_path / "identity")
    tokenizer.save_pretrained(tmp_path / "identity")
    scorer = clip.load(str(tmp_path / "identity"), device="cpu")
    assert scorer.dimension == TINY.clip_embedding
    assert not torch.allclose(scorer.model.visual.conv1.weight.float(), before, atol=1e-4)
