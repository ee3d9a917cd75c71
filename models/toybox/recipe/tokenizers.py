"""The tokenizers: CLIP's own kind, with a vocabulary in which every word the world uses is one token."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

from models.toybox import world

POSITIONS = 77
START, END = "<|startoftext|>", "<|endoftext|>"
COMMON = """
a an the of in on at to by for from with and or but no not without under over near behind between through is are was
be has have this that it its his her their my your one two three four five six seven eight nine ten photo photograph
picture drawing painting illustration portrait image render sketch cartoon storybook poster sticker cute little
small tiny big large happy sad smiling sleepy brave friendly funny charming beautiful pretty lovely soft warm cold
bright dark light colourful colorful simple detailed highly quality high best good bad ugly low worst blurry
masterpiece sitting standing walking running jumping waving reading sleeping eating playing dancing holding looking
wearing morning evening sunset sunrise day winter summer spring autumn rain rainy sunny foggy golden hour house home
room kitchen garden park mountain river lake boat car train bicycle book cup tea coffee cake balloon ball umbrella
flower flowers tree trees star stars moon sun cloud clouds water sand window street table chair animal creature
critter character dog wolf mouse panda bird duck fish horse lion tiger monkey elephant person man woman girl boy
child friend friends style view shot full body close up background foreground front side back left right top bottom
head face ear ears nose mouth paw paws tail arm arms leg legs white black silver orange cyan magenta birthday party
christmas halloween holiday space rocket planet island jungle river castle bridge market school
"""


def byte_symbols() -> list[str]:
    """One printable character a byte, in CLIP's order: `!` is number 0."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]


def known_words() -> list[str]:
    """Every word of the world's captions, then common words; each once."""
    phrases: list[str] = [*world.OPEN_FRAMINGS, "wearing a dressed up", *world.CHATTER]
    groups = (world.SCENE_PHRASES, world.FRAMING_PHRASES, world.LIGHT_PHRASES, world.PROP_PHRASES, world.POSE_PHRASES)
    for group in (*groups, world.KIND_WORDS):
        phrases += [phrase for options in group.values() for phrase in options]
    phrases.append(world.PLACELESS_NIGHT)
    phrases += [*world.EYE_PHRASES.values(), *world.MARKING_PHRASES.values(), *world.BELLY_PHRASES]
    phrases += [value for values in world.VALUES.values() for value in values]
    words = re.findall(r"[a-z]+", " ".join([*phrases, COMMON]))
    return list(dict.fromkeys(words))


def merges_for(words: list[str]) -> list[tuple[str, str]]:
    """Byte-pair merges, the most frequent pair first, until every word is one token."""
    parts = {word: [*word[:-1], word[-1] + "</w>"] for word in words}
    merges: list[tuple[str, str]] = []
    while True:
        pairs = Counter(pair for split in parts.values() for pair in pairwise(split))
        if not pairs:
            return merges
        left, right = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append((left, right))
        for word, split in parts.items():
            joined: list[str] = []
            for symbol in split:
                if joined and joined[-1] == left and symbol == right:
                    joined[-1] = left + right
                else:
                    joined.append(symbol)
            parts[word] = joined


def write_tokenizer(folder: Path, pad: str) -> None:
    """A CLIPTokenizer's files. As in CLIP: bytes, bytes that end a word, merges, and the two special tokens last."""
    from transformers import CLIPTokenizer

    symbols = byte_symbols()
    merges = merges_for(known_words())
    tokens = [*symbols, *(symbol + "</w>" for symbol in symbols), *(left + right for left, right in merges), START, END]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=pad, model_max_length=POSITIONS)
    tokenizer.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
