"""Captions of training pictures: each source, what is put in the token's place, and what the trainer makes of them."""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipImageProcessorPil, BlipProcessor

from models.sdxl import prompt_encoder
from models.system.errors import UserError
from tasks.persona.persona import Persona, candidate_cells, find_persona, prompt_for
from tasks.references.reference_set import ReferenceCandidate
from tasks.training import captions as caption
from tasks.training.captions import CaptionSettings, PictureCaptions, caption_pictures, with_token
from tests.support import tiny

REPOSITORY = Path(__file__).parents[3]
TEAL = "a teal fox with a cream belly"
NOWHERE = Path("/nowhere")
TOKENIZER = tiny.tokenizer()


def persona(**changes: object) -> Persona:
    base = {"name": "pip", "token": "<pip>", "class_word": "fox", "kind": "character", "subject": TEAL}
    return Persona.model_validate(base | changes)


PIP = persona()
MARA = persona(
    name="mara", token="<mara>", class_word="woman", subject="a woman in her forties with auburn hair and green eyes"
)
INK = persona(name="ink", token="<ink>", class_word="watercolour", kind="style", subject="a loose watercolour")


def own(text: str = "", file: str = "b.png") -> ReferenceCandidate:
    return ReferenceCandidate("0123456789abcdef", "artifacts/own/01/b.png", text, source=file)


def generated(cell: dict[str, str] | None = None, text: str = "whatever it was made from") -> ReferenceCandidate:
    return ReferenceCandidate("fedcba9876543210", "artifacts/fe/a.png", text, cell or {}, 0, 7)


def one(
    candidate: ReferenceCandidate, who: Persona = PIP, source: str = "auto", captioner: str = ""
) -> PictureCaptions:
    (found,) = caption_pictures([candidate], who, CaptionSettings(source, captioner), NOWHERE)
    return found


def error_of(candidate: ReferenceCandidate, source: str, captioner: str = "", who: Persona = PIP) -> str:
    with pytest.raises(UserError) as caught:
        one(candidate, who, source, captioner)
    message = str(caught.value)
    assert "\n" not in message
    assert not message.endswith(".")
    return message


def reaches_the_trainer(text: str, token: str) -> bool:
    """Whether the trainer's own reading of the caption finds the learned word in it."""
    return any(chunk.slots for chunk in prompt_encoder.split_into_chunks(text, TOKENIZER, {token: 2}))


# --- From provenance ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pip", "mara"])
def test_a_generated_picture_is_captioned_with_what_varies_and_none_of_its_looks(name: str) -> None:
    who = find_persona(name, REPOSITORY)
    for cell in candidate_cells(who, 12):
        found = one(generated(cell, prompt_for(who, cell)), who)
        assert found.origin == "provenance"
        assert found.texts == (prompt_for(who, cell, who.token),)
        assert all(phrase in found.texts[0] for phrase in cell.values())
        assert who.subject not in found.texts[0]
        assert who.class_word not in found.texts[0].split()
        assert reaches_the_trainer(found.texts[0], who.token)


def test_a_cell_that_lacks_a_newer_axis_falls_back_on_the_pictures_own_prompt() -> None:
    light = {"prompt": "{framing} {subject}, {light}", "matrix": {"framing": ["a photo of"], "light": ["at noon"]}}
    who = persona(references=light)
    found = one(generated({"framing": "a photo of"}, f"a photo of {TEAL} in the snow"), who)
    assert found == PictureCaptions(("a photo of <pip> in the snow",), "provenance")


def test_a_picture_of_a_later_round_is_captioned_like_one_of_the_first() -> None:
    assert one(generated({"pose": "sitting"}, "<pip>, sitting")) == PictureCaptions(("<pip>, sitting",), "provenance")


# --- From a .txt --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # the token itself
        ("<pip> in the snow, a fox behind", "<pip> in the snow, a fox behind"),
        ("a photo of <PIP> in the snow", "a photo of <pip> in the snow"),
        # the subject, before the class word in it
        (f"{TEAL} in the snow", "<pip> in the snow"),
        ("A Teal Fox With A Cream Belly, sitting", "<pip>, sitting"),
        ("a photo of the teal fox with a cream belly", "a photo of <pip>"),
        # the class word with its article, and the subject's words before it
        ("a fox in the snow", "<pip> in the snow"),
        ("The FOX sleeps", "<pip> sleeps"),
        ("this fox in the snow", "<pip> in the snow"),
        ("a teal fox on a chair", "<pip> on a chair"),
        ("a small teal fox on a chair", "a small <pip> on a chair"),
        ("fox, snow, sitting", "<pip>, snow, sitting"),
        ("the fox's tail", "<pip>'s tail"),
        # every time it is named
        ("a fox jumps, the fox lands", "<pip> jumps, <pip> lands"),
        (f"{TEAL}: the fox sits", "<pip>: <pip> sits"),
        # whole words only
        ("foxes and a fox-like dog by a snow-fox", "a picture of <pip>, foxes and a fox-like dog by a snow-fox"),
        ("a red_fox sign on the wall, seen at night", "a picture of <pip>, a red_fox sign on the wall, seen at night"),
        # not named at all
        ("sitting in the deep snow of a forest", "a picture of <pip>, sitting in the deep snow of a forest"),
        ("snow", "a picture of <pip>, snow"),
        ("snow, sitting, looking at viewer", "<pip>, snow, sitting, looking at viewer"),
        (
            "he sits, and all around him snow is falling",
            "a picture of <pip>, he sits, and all around him snow is falling",
        ),
        # the syntax of prompts stays
        ("a (fox:1.3) in the [snow]", "a (<pip>:1.3) in the [snow]"),
        ("(deep snow, trees:1.2), sitting", "<pip>, (deep snow, trees:1.2), sitting"),
        (r"a fox \(animal\) in the ((snow", r"<pip> \(animal\) in the ((snow"),
        (r"sitting \1 \g<0> (snow", r"a picture of <pip>, sitting \1 \g<0> (snow"),
        ("a fox in a hat BREAK {snow} %s {0}", "<pip> in a hat BREAK {snow} %s {0}"),
        ("snow with {} and %s and {0} in it", "a picture of <pip>, snow with {} and %s and {0} in it"),
        ("<lora:fox:1> a fox by <fox>", "<lora:fox:1> <pip> by <fox>"),
        # spaces and marks at the ends
        ("  a fox\n in\tthe snow. ", "<pip> in the snow"),
        (", snow, sitting,", "<pip>, snow, sitting"),
    ],
)
def test_a_text_gets_the_token(text: str, expected: str) -> None:
    assert one(own(text)) == PictureCaptions((expected,), "txt")
    assert reaches_the_trainer(expected, "<pip>")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_letters_of_any_script_are_matched_however_they_are_written(form: str) -> None:
    who = persona(name="bjorn", token="<björn>", class_word="Bärenjunges", subject="ein braunes Bärenjunges")
    text = normalize(form, "Ein BÄRENJUNGES am Fluß, 雪")
    assert one(own(text), who).texts == ("<björn> am Fluß, 雪",)
    assert one(own(normalize(form, "<BJÖRN> 雪")), who).texts == ("<björn> 雪",)
    assert one(own("雪の中に座っている"), who).texts == ("a picture of <björn>, 雪の中に座っている",)


def test_a_class_word_longer_than_the_subject_is_tried_first() -> None:
    who = persona(class_word="red fox cub", subject="a fox")
    assert one(own("a red fox cub beside a fox"), who).texts == ("<pip> beside <pip>",)


def test_a_style_is_named_at_the_end_where_the_text_does_not_name_it() -> None:
    assert one(own("a watercolour of a harbour"), INK).texts == ("<ink> of a harbour",)
    assert one(own("a loose watercolour of a harbour"), INK).texts == ("<ink> of a harbour",)
    assert one(own("a harbour in the morning"), INK).texts == ("a harbour in the morning, in the style of <ink>",)
    assert one(own("harbour, morning"), INK).texts == ("<ink>, harbour, morning",)


# --- Templates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", " \n ", ",", ". ."])
@pytest.mark.parametrize("who", [PIP, INK, persona(kind="object")])
def test_a_picture_without_words_gets_every_template_of_its_kind(text: str, who: Persona) -> None:
    found = one(own(text), who)
    assert found.origin == "template"
    assert len(set(found.texts)) == len(found.texts) >= 12
    assert all(each.count(who.token) == 1 and reaches_the_trainer(each, who.token) for each in found.texts)
    of_style = all("style" in each or "manner" in each or "look" in each for each in found.texts)
    assert of_style == (who.kind == "style")


def test_templates_say_nothing_that_may_be_false_of_a_picture_nobody_looked_at() -> None:
    words = " ".join(caption.SUBJECT_TEMPLATES + caption.STYLE_TEMPLATES)
    for axis in find_persona("mara", REPOSITORY).references.matrix.used_axes().values():
        assert not any(phrase in words for phrase in axis)
    assert not any(word in words for word in ("close", "portrait", "body", "background", "light", "dark", "small"))


# --- Forced sources -----------------------------------------------------------------------------------------------


def test_provenance_cannot_be_forced_on_a_picture_of_ones_own() -> None:
    assert error_of(own("a fox"), "provenance") == (
        "b.png is a picture of your own, which no prompt made: set training.captions to auto or txt"
    )


def test_txt_cannot_be_forced_on_a_generated_picture_nor_on_one_without_words() -> None:
    assert error_of(generated(), "txt") == (
        "picture fedcba98 was generated and has no .txt: set training.captions to auto or provenance"
    )
    assert error_of(own("", "c.d.jpeg"), "txt") == (
        "c.d.jpeg has no caption: write one into c.d.txt beside it, or set training.captions to auto"
    )


def test_a_captioner_cannot_be_forced_without_its_name() -> None:
    assert error_of(own("a fox"), "captioner").startswith("training.captions = 'captioner' names no captioner: set ")


def test_an_unknown_source_is_told_the_known_ones() -> None:
    assert error_of(own("a fox"), "text") == (
        "training.captions = 'text' is unknown: use one of auto, provenance, txt, captioner, templates"
    )


def test_templates_can_be_forced_on_any_picture() -> None:
    assert [one(each, source="templates").origin for each in (own("a fox"), generated())] == ["template"] * 2


def test_txt_and_provenance_forced_are_what_auto_finds() -> None:
    assert one(own("a fox"), source="txt") == one(own("a fox"))
    assert one(generated({"pose": "sitting"}), source="provenance") == one(generated({"pose": "sitting"}))


# --- By a captioner -----------------------------------------------------------------------------------------------


def blip_that_says(text: str, folder: Path) -> Path:
    """A real BLIP of one layer whose words depend on their place alone: it says this of any picture."""
    import torch

    words = [*dict.fromkeys(text.split())]
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    tokenizer = BertTokenizer(vocab={word: n for n, word in enumerate(vocab)}, bos_token="[DEC]")
    width = {"hidden_size": 64, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "sep_token_id", "pad_token_id")}
    config = BlipConfig(
        text_config={**width, "vocab_size": len(tokenizer), "max_position_embeddings": 64, **ids},
        vision_config={**width, "image_size": 16, "patch_size": 8},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BlipForConditionalGeneration(config).eval()
    said = tokenizer(text, add_special_tokens=False).input_ids
    inputs = {
        "pixel_values": torch.zeros(1, 3, 16, 16),
        "input_ids": torch.tensor([[tokenizer.bos_token_id, *said, 3]]),
    }
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2)
    for _ in range(40):
        model(**inputs, labels=inputs["input_ids"]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    BlipProcessor(BlipImageProcessorPil(size={"height": 16, "width": 16}), tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Captioners, by what they say."""
    place = tmp_path_factory.mktemp("captioners")
    texts = {"named": "a picture of a teal fox on a chair .", "unnamed": "a red cat on a chair", "nothing": "."}
    return {name: f"blip:{blip_that_says(text, place / name)}" for name, text in texts.items()}


@pytest.fixture
def studio(tmp_path: Path) -> Path:
    for candidate in (own(), generated()):
        path = tmp_path / candidate.path
        path.parent.mkdir(parents=True)
        Image.new("RGB", (32, 32), candidate.id[:3].join(("#", ""))).save(path)
    return tmp_path


def test_a_captioner_looks_where_there_are_no_words_and_order_is_kept(folders: dict[str, str], studio: Path) -> None:
    chosen = [own(), own("a fox in the snow"), generated({"pose": "sitting"}), own()]
    found = caption_pictures(chosen, PIP, CaptionSettings("auto", folders["named"]), studio, "cpu")
    looked = PictureCaptions(("a picture of <pip> on a chair",), "captioner")
    assert [each.origin for each in found] == ["captioner", "txt", "provenance", "captioner"]
    assert found[0] == found[3] == looked
    assert found[1:3] == [one(chosen[1]), one(chosen[2])]


def test_a_captioner_can_be_forced_on_any_picture(folders: dict[str, str], studio: Path) -> None:
    found = caption_pictures(
        [own("a fox"), generated()], PIP, CaptionSettings("captioner", folders["named"]), studio, "cpu"
    )
    assert found == [PictureCaptions(("a picture of <pip> on a chair",), "captioner")] * 2


def test_an_answer_that_does_not_name_the_persona_follows_the_token(folders: dict[str, str], studio: Path) -> None:
    knobs = CaptionSettings("auto", folders["unnamed"])
    assert caption_pictures([own()], PIP, knobs, studio, "cpu")[0].texts == ("<pip>, a red cat on a chair",)
    assert caption_pictures([own()], INK, knobs, studio, "cpu")[0].texts == (
        "a red cat on a chair, in the style of <ink>",
    )


def test_a_captioner_that_says_nothing_leaves_the_templates(folders: dict[str, str], studio: Path) -> None:
    assert caption_pictures([own()], PIP, CaptionSettings("auto", folders["nothing"]), studio, "cpu") == [one(own())]


def test_what_was_described_once_is_kept_in_the_studio(folders: dict[str, str], studio: Path) -> None:
    knobs = CaptionSettings("auto", folders["named"])
    first = caption_pictures([own()], PIP, knobs, studio, "cpu")
    (kept,) = (studio / "cache" / "captions").rglob("*.txt")
    assert kept.read_text() == "a picture of a teal fox on a chair\n"
    kept.write_text("a fox by the sea")
    assert caption_pictures([own()], PIP, knobs, studio, "cpu")[0].texts == ("<pip> by the sea",)
    assert first[0].texts == ("a picture of <pip> on a chair",)


def test_a_captioner_that_nobody_needs_is_not_looked_for() -> None:
    assert one(own("a fox"), captioner="blip:nowhere").origin == "txt"
    assert error_of(own(), "auto", "blip:nowhere").startswith("there is no BLIP model folder at nowhere")


def test_a_mistake_shows_before_a_model_is_looked_for() -> None:
    chosen = [own(), dataclasses.replace(own(), source="late.png")]
    with pytest.raises(UserError, match=r"b\.png has no caption"):
        caption_pictures(chosen, PIP, CaptionSettings("txt", "blip:nowhere"), NOWHERE)


def test_a_picture_that_is_gone_is_named(folders: dict[str, str], studio: Path) -> None:
    shutil.rmtree(studio / "artifacts")
    with pytest.raises(UserError, match=r"there is no picture at .*b\.png"):
        caption_pictures([own()], PIP, CaptionSettings("auto", folders["named"]), studio, "cpu")


# --- All of them --------------------------------------------------------------------------------------------------

pieces = st.sampled_from(
    ["a", "the", "fox", "teal", TEAL, "<pip>", "<PIP>", "<fox>", "woman", "<", ">", "(", ")", "[", ":1.3)", "\\", ",", ".",
     "BREAK", "snow", "-", "é", "e\u0301", "雪", "🦊", "{}", "%s", "\n", "\u00a0"]
)  # fmt: skip
texts = st.lists(pieces, max_size=12).flatmap(
    lambda parts: st.sampled_from([" ".join(parts), "".join(parts), ",".join(parts)])
)


@settings(max_examples=300, deadline=None)
@given(chosen=st.lists(st.one_of(st.builds(own, texts | st.text(max_size=40)), st.just(generated())), max_size=6))
@pytest.mark.parametrize("who", [PIP, MARA, INK])
def test_every_caption_of_every_picture_holds_the_token(who: Persona, chosen: Sequence[ReferenceCandidate]) -> None:
    found = caption_pictures(chosen, who, CaptionSettings(), NOWHERE)
    assert len(found) == len(chosen)
    for each in found:
        assert each.texts
        assert all(who.token in text and reaches_the_trainer(text, who.token) for text in each.texts)
    assert found == caption_pictures(chosen, who, CaptionSettings(), NOWHERE)


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=40).filter(lambda text: not any(name in text.casefold() for name in ("fox", "pip"))))
def test_a_text_that_does_not_name_the_persona_is_kept_whole(text: str) -> None:
    words = " ".join(normalize("NFC", " ".join(text.split()).strip(" ,.")).split())
    assert words in with_token(text, PIP)
