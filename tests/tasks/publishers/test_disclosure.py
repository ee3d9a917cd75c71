"""A published picture says that it is made by AI, and nothing of how."""

import io
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from tasks.publishers.disclosure import SOURCE, Wanted, check_disclosed, jpeg, packet, source_type

PROMPT = "secret prompt of a teal fox"


def made(alt: str = "a fox") -> bytes:
    return jpeg(Image.new("RGB", (64, 80), "teal"), alt=alt)


def test_a_jpeg_says_what_it_is() -> None:
    assert source_type(made()) == SOURCE
    assert check_disclosed(made(), "hello", Wanted()) == []


@given(st.text())
def test_any_alt_text_gives_a_packet_in_good_order(alt: str) -> None:
    text = packet(alt).decode().split("?>", 1)[1].rsplit("<?", 1)[0]
    found = [each.text for each in ET.fromstring(text).iter() if each.tag.endswith("}li")]
    kept = (
        "".join(each for each in alt if each in "\t\n\r" or ord(each) >= 32).replace("\ufffe", "").replace("\uffff", "")
    )
    kept = kept.replace("\r\n", "\n").replace("\r", "\n")  # as every reader of XML reads them
    assert found == ([kept] if kept else [])
    assert source_type(made(alt)) == SOURCE


def test_the_longest_alt_text_fits() -> None:
    assert source_type(made("&" * 9000)) == SOURCE
    assert source_type(made("🦊" * 9000)) == SOURCE


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
        found = jpeg(image)
    assert PROMPT.encode() not in found
    with Image.open(io.BytesIO(found)) as again:
        assert set(again.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "icc_profile", "xmp"}
        assert dict(again.getexif()) == {}


def test_the_same_picture_has_the_same_bytes_at_any_time() -> None:
    """A colour profile says when it was written; what was approved would have other bytes a second later."""
    profile = Image.open(io.BytesIO(jpeg(Image.new("RGB", (8, 8))))).info["icc_profile"]
    assert profile[24:36] == bytes.fromhex("07ea 0001 0001 0000 0000 0000")


def test_it_has_the_size_asked_for_and_the_colours_of_srgb() -> None:
    image = Image.new("RGBA", (200, 100), (200, 30, 30, 255))
    with Image.open(io.BytesIO(jpeg(image, size=(108, 135)))) as found:
        assert found.size == (108, 135)
        assert found.mode == "RGB"
        profile = ImageCms.ImageCmsProfile(io.BytesIO(found.info["icc_profile"]))
        assert "sRGB" in ImageCms.getProfileDescription(profile)
        assert all(abs(a - b) < 4 for a, b in zip(found.getpixel((50, 50)), (200, 30, 30), strict=True))


@pytest.mark.parametrize(
    ("data", "caption", "wanted", "missing"),
    [
        ("bare", "", Wanted(), ["does not say inside"]),
        ("bare", "", Wanted(inside=False), []),
        ("ours", "Pip in the rain.\nMade  with AI", Wanted(caption="made with ai"), []),
        ("ours", "Pip in the rain", Wanted(caption="made with AI"), ["caption does not hold 'made with AI'"]),
        ("bare", "", Wanted(caption="AI"), ["does not say inside", "caption does not hold"]),
        ("damaged", "", Wanted(), ["does not say inside"]),
        ("bomb", "", Wanted(), ["does not say inside"]),
        ("nothing", "", Wanted(), ["does not say inside"]),
        ("other", "", Wanted(), ["does not say inside"]),
    ],
)
def test_what_is_missing_is_told(data: str, caption: str, wanted: Wanted, missing: list[str]) -> None:
    found = check_disclosed(FILES[data](), caption, wanted)
    assert len(found) == len(missing)
    assert all(part in sentence for part, sentence in zip(missing, found, strict=True))


def _saved(xmp: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 80), "teal").save(buffer, "JPEG", xmp=xmp)
    return buffer.getvalue()


BOMB = b'<!DOCTYPE x [<!ENTITY a "' + b"A" * 100 + b'">]>' + packet()
FILES = {
    "ours": made,
    "bare": lambda: _saved(b""),
    "damaged": lambda: _saved(packet()[:-100]),
    "bomb": lambda: _saved(BOMB),
    "nothing": lambda: b"no picture",
    "other": lambda: _saved(packet().replace(b"trainedAlgorithmicMedia", b"digitalCapture")),
}


@pytest.mark.parametrize("form", ["attribute", "resource"])
def test_others_ways_of_writing_it_are_read(form: str) -> None:
    text = packet().decode()
    element = f"<Iptc4xmpExt:DigitalSourceType>{SOURCE}</Iptc4xmpExt:DigitalSourceType>"
    if form == "attribute":
        text = text.replace(element, "").replace(
            'rdf:about=""', f'rdf:about="" Iptc4xmpExt:DigitalSourceType="{SOURCE}"'
        )
    else:
        text = text.replace(element, f'<Iptc4xmpExt:DigitalSourceType rdf:resource="{SOURCE}"/>')
    assert source_type(_saved(text.encode())) == SOURCE
