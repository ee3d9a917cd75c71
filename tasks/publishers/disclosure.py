"""Disclose that a picture is made by AI, inside the JPEG and in the caption, and check that it is disclosed."""

import io
import re
import struct
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from xml.sax.saxutils import escape

from PIL import Image, ImageCms, ImageOps

from models.picture.reading import DAMAGE_ERRORS, convert_to_rgb

AI_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
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
MAX_ALT_TEXT_CHARACTERS = (
    2000  # characters of an alt text, which leaves room in that segment even where each needs four bytes and more
)


@dataclass(frozen=True)
class DisclosureRules:
    """The disclosure that the settings require."""

    inside: bool = True
    """Require IPTC's DigitalSourceType in the file, from which Instagram and others label it."""
    caption: str = ""
    """Text that the caption has to contain; empty requires none."""


def xmp_packet(alt: str = "") -> bytes:
    """Return XMP that names a trained algorithm as the source and holds the alt text."""
    text = escape(NOT_XML.sub("", alt)[:MAX_ALT_TEXT_CHARACTERS])
    alt_element = ALT.format(text=text) if text else ""
    return PACKET.format(rdf=RDF, ext=EXT, core=CORE, source=AI_SOURCE_TYPE, alt=alt_element).encode()


def encode_jpeg(image: Image.Image, quality: int = 92, alt: str = "", size: tuple[int, int] | None = None) -> bytes:
    """Encode a picture for publication: sRGB, labelled, at the given size, without any other metadata."""
    plain = _convert_to_srgb(image)
    if size and plain.size != size:
        plain = ImageOps.fit(plain, size, Image.Resampling.LANCZOS)
    # A new image without the old one's texts: Pillow would copy comments and the like into the file.
    bare = Image.frombytes("RGB", plain.size, plain.tobytes())
    buffer = io.BytesIO()
    bare.save(
        buffer, "JPEG", quality=quality, subsampling=0, optimize=True, icc_profile=_srgb_profile(), xmp=xmp_packet(alt)
    )
    return buffer.getvalue()


def _srgb_profile() -> bytes:
    """Return the sRGB profile with a fixed date: the same picture has the same bytes at any time."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + PROFILE_DATE + profile[36:]


def list_missing_disclosures(data: bytes, caption: str, wanted: DisclosureRules) -> list[str]:
    """List the missing disclosures, a sentence each; an empty list if nothing is missing."""
    missing = []
    if wanted.inside and read_source_type(data) != AI_SOURCE_TYPE:
        missing.append("the file does not say inside that it is made by AI: make its JPEG again")
    if wanted.caption and _normalize_text(wanted.caption) not in _normalize_text(caption):
        missing.append(f"the caption does not hold {wanted.caption!r}: add it")
    return missing


def read_source_type(data: bytes) -> str:
    """Read the source type from a JPEG's XMP; empty if it has none or cannot be read."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            xmp = image.info.get("xmp", b"")
    except DAMAGE_ERRORS:
        return ""
    if not xmp or b"<!" in xmp:  # XMP has no document types; a file with one may be an attack
        return ""
    try:
        root = ET.fromstring(
            re.sub(rb"<\?.*?\?>", b"", xmp, flags=re.DOTALL).decode("utf-8-sig").strip("\ufeff\0 \n\r\t")
        )
    except (ET.ParseError, UnicodeDecodeError):
        return ""
    name = f"{{{EXT}}}DigitalSourceType"
    values = [element.get(name) for element in root.iter(f"{{{RDF}}}Description") if element.get(name)]
    values += [element.text or element.get(f"{{{RDF}}}resource") for element in root.iter(name)]
    return next((text.strip() for text in values if text), "")


def _convert_to_srgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    plain = convert_to_rgb(image)
    if profile and image.mode == "RGB":
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(plain, source, ImageCms.createProfile("sRGB"))
        except (ImageCms.PyCMSError, OSError):
            return plain  # a damaged profile cannot be used
        assert converted is not None
        return converted
    return plain


def _normalize_text(text: str) -> str:
    return " ".join(text.split()).casefold()
