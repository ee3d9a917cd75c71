"""The persona file that somebody starts from: every key, with what it does."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from models.system.errors import UserError
from models.system.files import write_file
from tasks.persona import persona


@dataclass(frozen=True)
class StarterSubject:
    """The subject of the file until somebody writes another."""

    class_word: str
    subject: str
    candidates: int = 0


CRITTER = StarterSubject("fox", "a teal fox with a cream belly")
"""What toybox knows how to draw."""
PERSON = StarterSubject("woman", "a woman of forty with short red hair, freckles and green eyes", candidates=96)
"""What SDXL draws from such words is many women: enough of them to tell the largest group that is one."""


def starter_subject_for(model: str) -> StarterSubject:
    return CRITTER if model == "toybox" else PERSON


TEMPLATE = """\
# A persona: who the pictures are of, and which reference pictures to ask for.

name = "{name}"            # as the file is called
token = "<{name}>"         # the new word that the model learns for it
class_word = {class_word:14}# the ordinary word nearest to it; training starts from its meaning
kind = "character"         # character, object or style
subject = "{subject}"  # what it looks like, in words that the model knows
model = ""                 # the model to use, such as stabilityai/stable-diffusion-xl-base-1.0; empty: settings.toml's

[references]
source = "generate"        # generate makes candidates; folder takes your own pictures
folder = ""                # where your own pictures are, from this file; for source = "folder"
prompt = "{{framing}} {{subject}}, {{background}}"  # each of these stands for the subject or a phrase of the matrix
# negative = "blurry, text"  # what no candidate should show; without this line: settings.toml's
seed = {seed}              # another seed, other candidates
candidates = {candidates:<14}# pictures made to choose from; 0: settings.toml's
keep = 0                   # how many of them become the reference set; 0: settings.toml's
identity = ""              # cluster where the words fit several characters, core where they fit one; empty: settings.toml's
# guidance = 5.0           # how strictly the prompt is followed; without this line: settings.toml's
# steps = 25               # denoising steps; without this line: settings.toml's

# What the candidates are to differ in. What is the same in all of them is learned as part of the persona; so vary all
# that is not. An axis that the prompt does not name is added at its end; an axis may be left out.
[references.matrix]
framing = ["a close-up of", "a portrait of", "a full body picture of"]  # how much of it is seen
background = ["in the forest", "on the beach", "in the city", "in a meadow"]  # where it is
# angle = ["from the front", "from the side"]          # where the camera stands
# expression = ["smiling", "serious"]                  # the face
# clothing = ["wearing a hat", "wearing a scarf"]      # what it wears and may take off
# pose = ["sitting", "standing", "running"]            # what it does
# light = ["in soft daylight", "in evening light"]     # where the light comes from

[preview]
seed = 0                   # another seed, other pictures to look at while the word is learned
# Ask for what the references do not show, such as other places: what a word can no longer do is seen there first.
# prompts = ["a portrait of {{subject}} at night", "{{subject}} in a kitchen"]  # what they show; without this line: usual ones

[schedule]
# cron = "0 9 * * *"       # when the daily run of this persona starts; without this line: settings.toml's
# timezone = "UTC"         # the time zone of that, such as Europe/Berlin; without this line: settings.toml's

# Which pictures are due when; restage calendar {name} shows the next days with the exact prompts. What stands here counts
# for every shot below that does not say otherwise.
[calendar]
timezone = "UTC"           # whose days and hours these are, such as Europe/Berlin
hemisphere = "north"       # north or south: what {{{{ season }}}} says
from = 2026-01-01          # the first day; {{{{ count }}}} counts from here
until = 2199-12-31         # the last day
seed = 0                   # another seed, other choices and other pictures
catch_up = "latest"        # what was missed while nothing ran: skip, latest (the newest of each shot) or all
at = "09:00"               # when on its day a shot is due; 00:00 where it is not said
size = "portrait"          # square, portrait (4:5), landscape (1.91:1) or story (9:16)
candidates = 0             # pictures made to choose one from; 0: settings.toml's
account = ""               # whose account it goes to; empty: settings.toml's
hashtags = ["aiart"]       # with or without #
# negative = "blurry, text"  # what no picture should show; without this line: settings.toml's
# guidance = 5.0           # how strictly the prompt is followed; without this line: settings.toml's
# steps = 25               # denoising steps; without this line: settings.toml's
# strength = 0.6           # how far a picture goes from the one it starts from (init), 0 to 1
# sampler = "euler"        # euler, euler a, dpm++ 2m, dpm++ 2m karras, ddim, unipc or lcm; without this line: settings.toml's
# guidance_until = 1.0     # the share of the steps that run under guidance; without this line: settings.toml's
# token_weight = 1.0       # how much {{{{ token }}}} counts in a prompt: 1.2 shows more of it and obeys a little less
# loras = ["watercolour.safetensors:0.8"]  # files beside this one or beside settings.toml, each with its weight
# refiner = ""             # a second model that goes over each chosen picture: a hub id, a folder or a .safetensors file
# refiner_strength = 0.3   # how far it may go from the picture

# {{{{ … }}}} is a word of the day: date, season, weekday, month, day, year, count, last_published, token, name or subject.
# {{a|2::b|}} chooses one, b twice as often as a, or nothing; a name such as colour between two underscores on each side
# takes a line of wildcards/colour.txt, beside this file. The same choice in prompt and caption gives the same words.

[[calendar.shot]]
id = "weekdays"            # its name for ever: what was made already is known by it
when = "mon, wed, fri"     # a date, "daily", "mon, thu", "every 3 days", "1, 15, last" or "cron 0 9 * * 1-5"
prompt = "a portrait of {{{{ token }}}} {{in the forest|on the beach}}"  # what the picture shows
caption = "{{{{ weekday|title }}}} {{in the forest|on the beach}}."  # what stands under it
alt = "{{{{ subject }}}} {{in the forest|on the beach}}. An AI-made picture."  # what it shows, for who cannot see it
init = ""                  # a picture to start from: a file, from this one, or the id of another shot
"""


def write_starter_file(name: str, folder: Path, example: StarterSubject = CRITTER) -> Path:
    """Write a persona file to start from."""
    try:
        persona.check_name(name)
    except ValueError as error:
        raise UserError(f"{name!r} cannot be the name of a persona: use {error}") from None
    file = persona.persona_file(name, folder)
    if file.exists():
        raise UserError(f"{file} exists already: choose another name, or edit that file")
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:2])
    values = {"class_word": f'"{example.class_word}"', "subject": example.subject, "candidates": example.candidates}
    text = TEMPLATE.format(name=name, seed=seed, **values)
    write_file(file, text.encode())
    return file
