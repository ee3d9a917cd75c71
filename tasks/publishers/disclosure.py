"""Saying that a picture is made by AI: inside the JPEG, in the caption, and a check that it is said."""

import io
import re
import struct
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from xml.sax.saxutils import escape

from PIL import Image, ImageCms, ImageOps

from models.picture.reading import DAMAGE, rgb

SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
EXT = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
CORE = "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
PACKET = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="{rdf}">
  <rdf:Description rdf:about="" xmlns:Iptc4xmpExt="{ext}" xmlns:Iptc4xmpCore="{core}">
   <Iptc4xmpExt:DigitalSourceType>{source}</Iptc4xmpExt:DigitalSourceType>{alt}
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""
ALT = """
   <Iptc4xmpCore:AltTextAccessibility>
    <rdf:Alt><rdf:li xml:lang="x-default">{text}</rdf:li></rdf:Alt>
   </Iptc4xmpCore:AltTextAccessibility>"""
PROFILE_DATE = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
ALT_MOST = (
    2000  # characters of an alt text, which leaves room in that segment even where each needs four bytes and more
)


@dataclass(frozen=True)
class Wanted:
    """What has to be said, by the settings."""

    inside: bool = True
    """In the file, as IPTC's DigitalSourceType, from which Instagram and others label it."""
    caption: str = ""
    """Words that the caption has to hold; empty asks for none."""


def packet(alt: str = "") -> bytes:
    """The XMP that says: made by a trained algorithm; and what the picture shows."""
    text = escape(NOT_XML.sub("", alt)[:ALT_MOST])
    shown = ALT.format(text=text) if text else ""
    return PACKET.format(rdf=RDF, ext=EXT, core=CORE, source=SOURCE, alt=shown).encode()


def jpeg(image: Image.Image, quality: int = 92, alt: str = "", size: tuple[int, int] | None = None) -> bytes:
    """A JPEG to publish: sRGB, labelled, of the size asked for, with nothing else of how it was made inside."""
    plain = _srgb(image)
    if size and plain.size != size:
        plain = ImageOps.fit(plain, size, Image.Resampling.LANCZOS)
    # A new image without the old one's texts: Pillow writes comments and the like along where it finds them.
    bare = Image.frombytes("RGB", plain.size, plain.tobytes())
    buffer = io.BytesIO()
    bare.save(buffer, "JPEG", quality=quality, subsampling=0, optimize=True, icc_profile=_profile(), xmp=packet(alt))
    return buffer.getvalue()


def _profile() -> bytes:
    """sRGB, without the second in which it was written: the same picture has the same bytes at any time."""
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return made[:24] + PROFILE_DATE + made[36:]


def check_disclosed(data: bytes, caption: str, wanted: Wanted) -> list[str]:
    """What is missing, a sentence each; nothing where all that is wanted is said."""
    missing = []
    if wanted.inside and source_type(data) != SOURCE:
        missing.append("the file does not say inside that it is made by AI: make its JPEG again")
    if wanted.caption and _folded(wanted.caption) not in _folded(caption):
        missing.append(f"the caption does not hold {wanted.caption!r}: add it")
    return missing


def source_type(data: bytes) -> str:
    """What a JPEG's XMP says its source is; empty where it says nothing, or nothing that can be read."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            xmp = image.info.get("xmp", b"")
    except DAMAGE:
        return ""
    if not xmp or b"<!" in xmp:  # XMP knows no document types; what brings one along is after something else
        return ""
    try:
        root = ET.fromstring(
            re.sub(rb"<\?.*?\?>", b"", xmp, flags=re.DOTALL).decode("utf-8-sig").strip("\ufeff\0 \n\r\t")
        )
    except (ET.ParseError, UnicodeDecodeError):
        return ""
    name = f"{{{EXT}}}DigitalSourceType"
    told = [each.get(name) for each in root.iter(f"{{{RDF}}}Description") if each.get(name)]
    told += [each.text or each.get(f"{{{RDF}}}resource") for each in root.iter(name)]
    return next((text.strip() for text in told if text), "")


def _srgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    plain = rgb(image)
    if profile and image.mode == "RGB":
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(plain, source, ImageCms.createProfile("sRGB"))
        except (ImageCms.PyCMSError, OSError):
            return plain  # a damaged profile says nothing of the colours
        assert converted is not None
        return converted
    return plain


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
