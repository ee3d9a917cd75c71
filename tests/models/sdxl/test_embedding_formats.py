"""Words in the files of other programs. Each file is made here the way that program makes it."""

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.sdxl import locate
from models.sdxl.embedding import Embedding, EmbeddingMetadata, round_to_half, write_embedding
from models.sdxl.embedding_formats import (
    MAX_FILE_BYTES,
    ForeignEmbedding,
    encoder_widths,
    export_embedding,
    export_paths,
    format_of,
    read_foreign,
)
from models.sdxl.locate import ModelSource
from models.system.errors import UserError

L, G = 768, 1280
ONE, TWO = (L,), (L, G)


def word(widths: tuple[int, ...] = TWO, count: int = 2, token: str = "<pip>") -> Embedding:
    generator = torch.Generator().manual_seed(0)
    return Embedding(token, tuple(torch.randn(count, width, generator=generator) for width in widths))


XL, SD1, SINGLE = word(), word(ONE), word(ONE, count=1)
Make = Callable[[Path], list[Path]]


def saved(name: str, content: Any) -> Make:
    """Pickled as torch does it; tensors in a plain table as safetensors."""

    def make(folder: Path) -> list[Path]:
        path = folder / name
        save_file(content, path) if path.suffix in (".safetensors", ".pti") else torch.save(content, path)
        return [path]

    return make


def pair(first: str, second: str, swapped: bool = False) -> Make:
    def make(folder: Path) -> list[Path]:
        for name, table in zip((first, second), XL.vectors, strict=True):
            saved(name, {"<pip>": table.clone()})(folder)
        return [folder / second, folder / first] if swapped else [folder / first, folder / second]

    return make


def in_folder(make: Make) -> Make:
    def made(folder: Path) -> list[Path]:
        make(folder)
        return [folder]

    return made


def a1111(params: object, name: object = "pip") -> dict[str, Any]:
    """The table that A1111's training writes."""
    more = {"step": 499, "sd_checkpoint": "cc6cb27103", "sd_checkpoint_name": "v1-5-pruned-emaonly"}
    return {"string_to_token": {"*": 265}, "string_to_param": params, "name": name, **more}


def old_parameters() -> torch.nn.ParameterDict:
    """As torch before 1.12 pickled one: entries among the module's parameters, and no list of keys."""
    made = torch.nn.ParameterDict({"*": torch.nn.Parameter(SD1.vectors[0].clone())})
    del made.__dict__["_keys"]
    return made


def parameters() -> torch.nn.ParameterDict:
    return torch.nn.ParameterDict({"*": torch.nn.Parameter(SD1.vectors[0].clone())})


def original() -> dict[str, Any]:
    """What the first code writes: a ParameterDict, the token as a tensor, no name."""
    return {"string_to_token": {"*": torch.tensor(265)}, "string_to_param": parameters()}


def old_container(folder: Path) -> list[Path]:
    torch.save(a1111({"*": SD1.vectors[0]}), folder / "pip.pt", _use_new_zipfile_serialization=False)
    return [folder / "pip.pt"]


FILES: dict[str, tuple[Make, Embedding]] = {
    "A1111, Forge, ComfyUI: SDXL": (saved("pip.safetensors", {"clip_l": XL.vectors[0], "clip_g": XL.vectors[1]}), XL),
    "the same, pickled": (saved("pip.pt", {"clip_g": XL.vectors[1], "clip_l": XL.vectors[0]}), XL),
    "kohya: SD 1.x": (saved("pip.safetensors", {"emb_params": SD1.vectors[0]}), SD1),
    "kohya: SD 1.x, pickled": (saved("pip.pt", {"emb_params": SD1.vectors[0]}), SD1),
    "kohya: half precision": (saved("pip.safetensors", {"emb_params": SD1.vectors[0].half()}), round_to_half(SD1)),
    "A1111: .pt": (saved("elsewhere.pt", a1111({"*": SD1.vectors[0]})), SD1),
    "A1111: .pt, a parameter": (saved("x.pt", a1111({"*": torch.nn.Parameter(SD1.vectors[0].clone())})), SD1),
    "A1111: .pt, a ParameterDict": (saved("x.pt", a1111(parameters())), SD1),
    "A1111: .pt, an old ParameterDict": (saved("x.pt", a1111(old_parameters())), SD1),
    "A1111: .pt without a name": (saved("pip.pt", a1111({"*": SD1.vectors[0]}, None)), SD1),
    "A1111: .pt as .bin": (saved("pip.bin", a1111({"*": SD1.vectors[0]}, "pip")), SD1),
    "A1111: .pt in torch's old container": (old_container, SD1),
    "the original code": (saved("pip.pt", original()), SD1),
    "diffusers: SD 1.x, 1-D": (saved("learned_embeds.bin", {"<pip>": SINGLE.vectors[0][0].clone()}), SINGLE),
    "diffusers: SD 1.x, 2-D": (saved("learned_embeds.bin", {"<pip>": SD1.vectors[0]}), SD1),
    "diffusers: SD 1.x, without brackets": (saved("learned_embeds.safetensors", {"pip": SD1.vectors[0]}), SD1),
    "diffusers: a bare tensor": (saved("pip.bin", SD1.vectors[0]), SD1),
    "diffusers: a parameter": (saved("x.ckpt", {"<pip>": torch.nn.Parameter(SD1.vectors[0].clone())}), SD1),
    "diffusers: SDXL": (pair("learned_embeds.safetensors", "learned_embeds_2.safetensors"), XL),
    "diffusers: SDXL, pickled": (pair("learned_embeds.bin", "learned_embeds_2.bin"), XL),
    "diffusers: SDXL, the wrong way round": (pair("a.safetensors", "b.safetensors", swapped=True), XL),
    "diffusers: SDXL, a folder": (in_folder(pair("learned_embeds.safetensors", "learned_embeds_2.safetensors")), XL),
    "a folder with one file": (in_folder(saved("pip.pt", a1111({"*": SD1.vectors[0]}))), SD1),
}


@pytest.mark.parametrize("kind", FILES)
def test_each_format_is_read(kind: str, tmp_path: Path) -> None:
    make, expected = FILES[kind]
    found = read_foreign(make(tmp_path))
    assert found.embedding == expected
    assert found.about == EmbeddingMetadata()


def test_cog_is_read_and_its_word_must_be_named(tmp_path: Path) -> None:
    path = tmp_path / "embeddings.pti"
    save_file({"text_encoders_0": XL.vectors[0], "text_encoders_1": XL.vectors[1]}, path)
    with pytest.raises(
        UserError, match=r"embeddings\.pti does not say which word it is for: name the token \(--token\)"
    ):
        read_foreign([path])
    assert read_foreign([path], token="<pip>").embedding == XL
    assert read_foreign([path], otherwise="<pip>").embedding == XL
    assert read_foreign([path], token="<pip>").format == "cog-sdxl"


def test_our_own_file_comes_with_its_record(tmp_path: Path) -> None:
    about = EmbeddingMetadata(persona="pip", seed=3, metrics={"identity": 0.5})
    write_embedding(tmp_path / "v1.safetensors", XL, about)
    found = read_foreign([tmp_path / "v1.safetensors"])
    assert (found.embedding, found.about, found.format) == (XL, about, "restage")


def test_a_folder_with_both_kinds_of_a_pair(tmp_path: Path) -> None:
    for kind in ("bin", "safetensors"):
        pair(f"learned_embeds.{kind}", f"learned_embeds_2.{kind}")(tmp_path)
    (tmp_path / "README.md").write_text("a word")
    assert read_foreign([tmp_path]).embedding == XL
    assert read_foreign([tmp_path]).format == "diffusers"


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_word_is_called_as_asked_then_as_its_file_says_then_as_expected_then_as_its_file(tmp_path: Path) -> None:
    named = saved("file.pt", a1111({"*": SD1.vectors[0]}))(tmp_path)
    nameless = saved("kohya.safetensors", {"emb_params": SD1.vectors[0]})(tmp_path)
    assert read_foreign(named, token="<asked>", otherwise="<else>").embedding.token == "<asked>"
    assert read_foreign(named, otherwise="<else>").embedding.token == "<pip>"
    assert read_foreign(nameless, otherwise="<else>").embedding.token == "<else>"
    assert read_foreign(nameless).embedding.token == "<kohya>"


@pytest.mark.parametrize("name", ["my word", "pip (v2)", "a:1", "<a b>", "x" * 5000 + " y"])
def test_a_name_that_cannot_stand_in_a_prompt(name: str, tmp_path: Path) -> None:
    paths = saved("x.pt", a1111({"*": SD1.vectors[0]}, name))(tmp_path)
    with pytest.raises(UserError, match=r"calls its word .*, which cannot stand in a prompt: name the token") as caught:
        read_foreign(paths)
    assert len(str(caught.value)) < 400
    assert read_foreign(paths, token="<pip>").embedding == SD1
    with pytest.raises(UserError, match="must stand in angle brackets"):
        read_foreign(paths, token="pip")


# --- which encoder ----------------------------------------------------------------------------------------------------


def only(table: torch.Tensor, name: str = "pip.safetensors") -> Make:
    return saved(name, {"<pip>": table})


@pytest.mark.parametrize(
    ("make", "widths", "sentence"),
    [
        (only(XL.vectors[1]), (), "is for one of two text encoders: give the other's file as well, or the folder of both"),
        (only(XL.vectors[0]), TWO, "is for one of two text encoders"),
        (only(torch.ones(1, 1024)), (), "is for an encoder 1024 wide, but known are 768 and 1280; name the model"),
        (only(torch.ones(1, 1024)), TWO, "is for an encoder 1024 wide, but this model's are 768 and 1280"),
        (saved("p.safetensors", {"clip_l": XL.vectors[0], "clip_g": XL.vectors[1]}), ONE, "is for encoders 768 and 1280 wide"),
        (saved("p.safetensors", {"clip_g": XL.vectors[1]}), (), "holds no 'clip_l', the vectors for the first text encoder"),
    ],
)  # fmt: skip
def test_tables_that_do_not_fit(make: Make, widths: tuple[int, ...], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        read_foreign(make(tmp_path), widths=widths)


def test_half_of_a_pair_is_not_taken_for_a_word_of_sd1(tmp_path: Path) -> None:
    first, _ = pair("learned_embeds.safetensors", "learned_embeds_2.safetensors")(tmp_path)
    with pytest.raises(UserError, match="one of two text encoders: give the other's file as well"):
        read_foreign([first])
    assert read_foreign([first], widths=ONE).embedding.vectors[0].shape == (2, L)  # somebody said that it is for SD 1.x


def test_a_pair_that_is_none(tmp_path: Path) -> None:
    one, other = only(XL.vectors[0], "a.safetensors")(tmp_path), only(XL.vectors[0], "b.safetensors")(tmp_path)
    with pytest.raises(UserError, match="are for encoders 768 and 768 wide, not 768 and 1280: check the pair"):
        read_foreign([*one, *other])
    whole = saved("c.safetensors", {"clip_l": XL.vectors[0], "clip_g": XL.vectors[1]})(tmp_path)
    with pytest.raises(UserError, match=r"c\.safetensors is a whole word, not one of a pair: give it alone"):
        read_foreign([*one, *whole])
    fewer = only(XL.vectors[1][:1].clone(), "d.safetensors")(tmp_path)
    with pytest.raises(UserError, match="has 2 and 1 vectors for its text encoders"):
        read_foreign([*one, *fewer])


def test_the_widths_of_a_model_tell_where_a_table_belongs(sdxl: ModelSource, sd1: ModelSource, tmp_path: Path) -> None:
    assert (encoder_widths(sdxl), encoder_widths(sd1), encoder_widths(locate.locate_model("toybox"))) == (
        (32, 48),
        (32,),
        (96, 128),
    )
    small = word((32, 48))
    paths = [only(table.clone(), f"{at}.safetensors")(tmp_path)[0] for at, table in enumerate(small.vectors)]
    assert read_foreign(paths[::-1], widths=encoder_widths(sdxl)).embedding == small
    assert read_foreign(paths[:1], widths=encoder_widths(sd1)).embedding == word((32,))


# --- what is no embedding, and what is worse --------------------------------------------------------------------------


class Code:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def pickled(content: object, protocol: int | None) -> bytes:
    if protocol is not None:
        return pickle.dumps(content, protocol=protocol)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".ckpt", ".pti", ".safetensors"])
@pytest.mark.parametrize("protocol", [None, 0, 2, 4])
def test_a_pickle_with_code_in_it_is_refused_and_nothing_runs(
    suffix: str, protocol: int | None, tmp_path: Path
) -> None:
    proof, path = tmp_path / "it ran", tmp_path / f"pip{suffix}"
    path.write_bytes(pickled(a1111({"*": Code(f"touch '{proof}'")}), protocol))
    content = io.BytesIO(path.read_bytes())
    torch.load(content, weights_only=False) if protocol is None else pickle.load(content)
    assert proof.exists()  # it would run
    proof.unlink()
    with pytest.raises(UserError) as caught:
        read_foreign([path])
    assert not proof.exists()
    assert "\n" not in str(caught.value)
    if protocol != 0:  # a text, to torch
        assert "such a file can run code: nothing of it was run; get the word as .safetensors" in str(caught.value)


def test_nor_does_it_run_where_the_environment_asks_for_it(tmp_path: Path) -> None:
    proof, path = tmp_path / "it ran", tmp_path / "pip.pt"
    path.write_bytes(pickled(a1111({"*": Code(f"touch '{proof}'")}), None))
    code = (
        "import sys; from pathlib import Path; from models.sdxl.embedding_formats import read_foreign; "
        "read_foreign([Path(sys.argv[1])])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"},
        capture_output=True,
        text=True,
    )
    assert "nothing of it was run" in run.stderr
    assert not proof.exists()


class Other:
    """Not code, but no tensor either."""


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("x.pt", {"<pip>": "a text"}, "holds something other than the vectors of a word"),
        ("x.pt", [1, 2], "holds something other than the vectors of a word"),
        ("x.pt", {}, "holds 0 tensors under names of no known kind"),
        ("x.pt", {"<pip>": torch.ones(2, L, dtype=torch.int64)}, "holds something other than the vectors of a word"),
        ("x.pt", {"<pip>": torch.ones(2, L).to_sparse()}, "holds something other than the vectors of a word"),
        ("x.pt", a1111({"*": SD1.vectors[0], "+": SD1.vectors[0]}), "holds 2 words, not one"),
        ("x.pt", a1111({}), "holds 0 words, not one"),
        ("x.pt", a1111("*"), "holds 0 words, not one"),
        ("x.safetensors", {"a": torch.ones(2), "b": torch.ones(2)}, "holds 2 tensors under names of no known kind"),
        ("x.safetensors", {"<pip>": torch.ones(2, 2, L)}, r"<pip> needs a table \[n, width\] for each text encoder"),
        ("x.safetensors", {"<pip>": torch.full((1, L), float("nan"))}, "values that are not finite"),
    ],
)
def test_what_is_no_embedding(name: str, content: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        read_foreign(saved(name, content)(tmp_path))
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_torn_files_of_every_length(tmp_path: Path) -> None:
    """Cut anywhere, a file is refused in one sentence, or it is whole."""
    for name in ("pip.safetensors", "pip.pt"):
        [path] = saved(name, {"<pip>": torch.ones(1, L)})(tmp_path)
        whole = path.read_bytes()
        for length in [*range(0, 200, 13), *range(200, len(whole), 331)]:
            path.write_bytes(whole[:length])
            with pytest.raises(UserError) as caught:
                read_foreign([path])
            assert "\n" not in str(caught.value), length


@pytest.mark.parametrize(
    "text", [b"", b"hello, this is a text", b"PK\x03\x04 not a zip", b"\x80\x02torn", b"12345678{"]
)
def test_other_files(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "pip.pt"
    path.write_bytes(text)
    with pytest.raises(
        UserError, match=r"pip\.pt (is no embedding file that can be read|is not a readable|is a pickle)"
    ):
        read_foreign([path])


def test_what_is_too_large_for_a_word_is_not_read(tmp_path: Path) -> None:
    large = tmp_path / "model.safetensors"
    with large.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(UserError, match="is larger than 64 MiB, which no embedding is"):
        read_foreign([large])
    packed = tmp_path / "bomb.pt"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as bomb, bomb.open("archive/data.pkl", "w") as entry:
        for _ in range(65):
            entry.write(bytes(1 << 20))
    assert packed.stat().st_size < 1 << 20
    with pytest.raises(UserError, match="is larger than 64 MiB"):
        read_foreign([packed])


def test_files_that_are_not_there(tmp_path: Path) -> None:
    for paths, sentence in {
        (tmp_path / "gone.pt",): r"there is no embedding file .*gone\.pt: check the path",
        (tmp_path,): "holds no embedding file: name the file",
        (tmp_path,) * 3: "a word is in one file or in two, not in 3",
    }.items():
        with pytest.raises(UserError, match=sentence):
            read_foreign(paths)
    for name in "abc":
        only(SD1.vectors[0], f"{name}.safetensors")(tmp_path)
    with pytest.raises(UserError, match="holds 3 files that may be embeddings: name the file, or the two of a pair"):
        read_foreign([tmp_path])


# --- written for others -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("embedding", [XL, SD1, SINGLE], ids=["sdxl", "sd1", "one vector"])
@pytest.mark.parametrize("format", ["restage", "diffusers", "a1111"])
@pytest.mark.parametrize("half", [False, True])
def test_what_is_written_for_others_is_read_back(embedding: Embedding, format: str, half: bool, tmp_path: Path) -> None:
    made = export_embedding(tmp_path / "pip.safetensors", embedding, EmbeddingMetadata(seed=3), format_of(format), half)
    assert made == export_paths(tmp_path / "pip.safetensors", embedding, format_of(format))
    assert sorted(made) == sorted(tmp_path.iterdir())
    found: ForeignEmbedding = read_foreign(made)
    assert found.embedding == (round_to_half(embedding) if half else embedding)
    assert (found.about.seed == 3) == (format == "restage")


def test_the_keys_that_others_want(tmp_path: Path) -> None:
    found = {}
    for format, embedding in (("a1111", XL), ("a1111", SD1), ("diffusers", XL), ("diffusers", SD1)):
        folder = tmp_path / f"{format}-{len(embedding.vectors)}"
        for path in export_embedding(folder / "pip.safetensors", embedding, EmbeddingMetadata(), format_of(format)):
            tables = load_file(path)
            found[folder.name, path.name] = {key: tuple(table.shape) for key, table in tables.items()}
            length = int.from_bytes(path.read_bytes()[:8], "little")
            assert "__metadata__" not in json.loads(path.read_bytes()[8 : 8 + length])
    assert found == {
        ("a1111-2", "pip.safetensors"): {"clip_l": (2, L), "clip_g": (2, G)},
        ("a1111-1", "pip.safetensors"): {"emb_params": (2, L)},
        ("diffusers-2", "pip.safetensors"): {"<pip>": (2, L)},
        ("diffusers-2", "pip_2.safetensors"): {"<pip>": (2, G)},
        ("diffusers-1", "pip.safetensors"): {"<pip>": (2, L)},
    }


def test_an_unknown_format() -> None:
    with pytest.raises(UserError, match="format 'comfy' is unknown: use one of restage, diffusers, a1111"):
        format_of("comfy")
