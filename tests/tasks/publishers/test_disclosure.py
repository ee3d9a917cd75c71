"""A published picture says that it is made by AI, and nothing of how."""

import io
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from tasks.publishers.disclosure import (
    AI_SOURCE_TYPE,
    DisclosureRules,
    encode_jpeg,
    list_missing_disclosures,
    read_source_type,
    xmp_packet,
)

PROMPT = "secret prompt of a teal fox"


def made(alt: str = "a fox") -> bytes:
    return encode_jpeg(Image.new("RGB", (64, 80), "teal"), alt=alt)


def test_a_jpeg_says_what_it_is() -> None:
    assert read_source_type(made()) == AI_SOURCE_TYPE
    assert list_missing_disclosures(made(), "hello", DisclosureRules()) == []


@given(st.text())
def test_any_alt_text_gives_a_packet_in_good_order(alt: str) -> None:
    text = xmp_packet(alt).decode().split("?>", 1)[1].rsplit("<?", 1)[0]
    found = [each.text for each in ET.fromstring(text).iter() if each.tag.endswith("}li")]
    kept = (
        "".join(each for each in alt if each in "\t\n\r" or ord(each) >= 32).replace("\ufffe", "").replace("\uffff", "")
    )
    kept = kept.replace("\r\n", "\n").replace("\r", "\n")  # as every reader of XML reads them
    assert found == ([kept] if kept else [])
    assert read_source_type(made(alt)) == AI_SOURCE_TYPE


def test_the_longest_alt_text_fits() -> None:
    assert read_source_type(made("&" * 9000)) == AI_SOURCE_TYPE
    assert read_source_type(made("🦊" * 9000)) == AI_SOURCE_TYPE


def test_nothing_of_the_prompt_is_left() -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("parameters", PROMPT)
    texts.add_itxt("restage", PROMPT)
    texts.add_itxt("XML:com.adobe.xmp", PROMPT)
    texts.add_text("comment", PROMPT)
    exif = Image.Exif()
    exif[0x010E] = PROMPT
    buffer = io.BytesIO()
    Image.new("RGB", (64, 80), "teal").save(buffer, "PNG", pnginfo=texts, exif=exif)
    with Image.open(buffer) as image:
        image.load()
        assert PROMPT in str(image.info)
        image.info["comment"] = PROMPT
        found = encode_jpeg(image)
    assert PROMPT.encode() not in found
    with Image.open(io.BytesIO(found)) as again:
        assert set(again.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "icc_profile", "xmp"}
        assert dict(again.getexif()) == {}


def test_the_same_picture_has_the_same_bytes_at_any_time() -> None:
    """A colour profile says when it was written; what was approved would have other bytes a second later."""
    profile = Image.open(io.BytesIO(encode_jpeg(Image.new("RGB", (8, 8))))).info["icc_profile"]
    assert profile[24:36] == bytes.fromhex("07ea 0001 0001 0000 0000 0000")


def test_it_has_the_size_asked_for_and_the_colours_of_srgb() -> None:
    image = Image.new("RGBA", (200, 100), (200, 30, 30, 255))
    with Image.open(io.BytesIO(encode_jpeg(image, size=(108, 135)))) as found:
        assert found.size == (108, 135)
        assert found.mode == "RGB"
        profile = ImageCms.ImageCmsProfile(io.BytesIO(found.info["icc_profile"]))
        assert "sRGB" in ImageCms.getProfileDescription(profile)
        assert all(abs(a - b) < 4 for a, b in zip(found.getpixel((50, 50)), (200, 30, 30), strict=True))


@pytest.mark.parametrize(
    ("data", "caption", "wanted", "missing"),
    [
        ("bare", "", DisclosureRules(), ["does not say inside"]),
        ("bare", "", DisclosureRules(inside=False), []),
        ("ours", "Pip in the rain.\nMade  with AI", DisclosureRules(caption="made with ai"), []),
        ("ours", "Pip in the rain", DisclosureRules(caption="made with AI"), ["caption does not hold 'made with AI'"]),
        ("bare", "", DisclosureRules(caption="AI"), ["does not say inside", "caption does not hold"]),
        ("damaged", "", DisclosureRules(), ["does not say inside"]),
        ("bomb", "", DisclosureRules(), ["does not say inside"]),
        ("nothing", "", DisclosureRules(), ["does not say inside"]),
        ("other", "", DisclosureRules(), ["does not say inside"]),
    ],
)
def test_what_is_missing_is_told(data: str, caption: str, wanted: DisclosureRules, missing: list[str]) -> None:
    found = list_missing_disclosures(FILES[data](), caption, wanted)
    assert len(found) == len(missing)
    assert all(part in sentence for part, sentence in zip(missing, found, strict=True))


def _saved(xmp: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 80), "teal").save(buffer, "JPEG", xmp=xmp)
    return buffer.getvalue()


BOMB = b'<!DOCTYPE x [<!ENTITY a "' + b"A" * 100 + b'">]>' + xmp_packet()
FILES = {
    "ours": made,
    "bare": lambda: _saved(b""),
    "damaged": lambda: _saved(xmp_packet()[:-100]),
    "bomb": lambda: _saved(BOMB),
    "nothing": lambda: b"no picture",
    "other": lambda: _saved(xmp_packet().replace(b"trainedAlgorithmicMedia", b"digitalCapture")),
}


@pytest.mark.parametrize("form", ["attribute", "resource"])
def test_others_ways_of_writing_it_are_read(form: str) -> None:
    text = xmp_packet().decode()
    element = f"<Iptc4xmpExt:DigitalSourceType>{AI_SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>"
    if form == "attribute":
        text = text.replace(element, "").replace(
            'rdf:about=""', f'rdf:about="" Iptc4xmpExt:DigitalSourceType="{AI_SOURCE_TYPE}"'
        )
    else:
        text = text.replace(element, f'<Iptc4xmpExt:DigitalSourceType rdf:resource="{AI_SOURCE_TYPE}"/>')
    assert read_source_type(_saved(text.encode())) == AI_SOURCE_TYPE
