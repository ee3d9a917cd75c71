"""The report on a training: every part is there when there is something to show, and only then."""

import base64
import dataclasses
import io
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageColor

from models.sheet import CHOSEN
from models.toybox import world
from models.toybox.drawing import draw
from tasks import curves, report_training
from tasks.training import Desk, Lesson, Measures, Point, Preview, Training

PROMPTS = ("a portrait of {subject} at night", "a close-up of {subject} under water")
VOID = {"meta", "img", "br"}
NAN = math.nan


class Page(HTMLParser):
    """The page as tags with their attributes and as text, checked for tags that are not closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(self.source)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data

    def all(self, tag: str) -> list[dict[str, Any]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def headings(self) -> list[str]:
        return re.findall(r"<h2>(.*?)</h2>", self.source)

    def pictures(self, alt: str) -> list[tuple[int, ...]]:
        """The colours in the middle of the pictures with this alternative text."""
        return [middle(each["src"]) for each in self.all("img") if each["alt"] == alt]


def middle(data: str) -> tuple[int, ...]:
    image = Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2])))
    return tuple(round(value / 51) for value in image.resize((1, 1)).getpixel((0, 0)))  # coarse: a JPEG is not exact


def colour(name: str) -> tuple[int, ...]:
    return tuple(round(value / 51) for value in ImageColor.getrgb(name))


def save(studio: Path, name: str, image: Image.Image) -> str:
    path = studio / "artifacts" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return f"artifacts/{name}.png"


def plain(studio: Path, name: str) -> str:
    return save(studio, name, Image.new("RGB", (64, 64), name))


def lesson(studio: Path, prompts: Sequence[str] = PROMPTS, **changes: Any) -> Lesson:
    scenes = world.SCENES[:3]
    found = Lesson(
        persona="pip",
        token="<pip>",
        class_word="fox",
        reference_set="24102aba475fc317",
        pictures=[save(studio, scene, draw(dataclasses.replace(world.PIP, scene=scene))) for scene in scenes],
        captions=[[f"a portrait of <pip> in the {scene}"] for scene in scenes],
        origins=["provenance"] * len(scenes),
        model="toybox",
        previews=[Preview(prompt, number) for number, prompt in enumerate(prompts)],
        config={"token": "<pip>", "steps": 1000, "vectors": 4, "batch": 1, "mirror": False, "rate": None},
        pace={"stop": "auto", "patience": 4},
        of={"model": "9f3c", "scorer": "toybox"},
    )
    return dataclasses.replace(found, **changes)


def point(step: int, pictures: Sequence[str], score: float = 0.5) -> Point:
    return Point(step, f"words/{step}", pictures, Measures(0.61, 0.72, 0.03, 0.04, score), 0.2)


def training(studio: Path, **changes: Any) -> Training:
    """Three looks at a word; the second, which is blue, was kept."""
    colours = ("red", "blue", "lime")
    points = [
        point(50 * (number + 1), [plain(studio, name)] * 2, 0.5 + 0.1 * (number == 1))
        for number, name in enumerate(colours)
    ]
    found = Training(
        lesson(studio),
        losses=[0.3 - step / 1000 + 0.02 * (-1) ** step for step in range(150)],
        rates=[0.005] * 150,
        validations=[(step, 0.25 - step / 2000) for step in (25, 50, 75, 100, 125, 150)],
        points=points,
        baseline=[plain(studio, "black"), plain(studio, "white")],
        references={"likeness among the references": 0.86},
        step=150,
        stopped="no preview since step 100 was better than its",
        by="score",
        kept=100,
        seconds=300.0,
        machine={"device": "cpu", "peak_memory": 3 * 2**29, "versions": {"torch": "2.15.0"}},
        version=3,
        current=True,
        verdict="its score of 0.60 is above 0.55 of version 2",
    )
    return found.but(**changes)


GOING = {"stopped": "", "by": "", "kept": None, "version": None, "current": None, "verdict": ""}
NOTHING: dict[str, Any] = GOING | {
    "losses": (),
    "rates": (),
    "validations": (),
    "points": (),
    "baseline": (),
    "references": {},
    "step": 0,
    "seconds": 0.0,
    "machine": {},
}
LOST = GOING | {"stopped": "The loss is not a number any more.", "losses": [0.2] * 100 + [1e30] + [NAN] * 49}
ALL_PARTS = [
    "The references",
    "&lt;pip&gt; after 100 steps, the word that was kept",
    "Score over steps",
    "Loss",
    "Prompts over steps",
    "Every look at the word",
    "What the references were called",
    "Settings and machine",
]


def test_a_finished_training_has_every_part_in_order(tmp_path: Path) -> None:
    page = Page(report_training.report(training(tmp_path), tmp_path))
    assert page.headings() == ALL_PARTS
    assert (
        "<pip> was learned from 3 pictures in 150 steps and 5 min 0 s; the word of step 100 was kept, and it stopped "
        "because no preview since step 100 was better than its." in page.text
    )
    assert "Version 3 is now the current one: its score of 0.60 is above 0.55 of version 2." in page.text
    assert "likeness among the references 0.86" in page.text
    assert "a portrait of <pip> in the beach" in page.text
    assert "From the prompt that the picture was made with." in page.text
    for fact in (
        "steps a second0.5",
        "peak memory1.50 GiB",
        "versions.torch2.15.0",
        "batch1",
        "mirrorfalse",
        "ratenone",
    ):
        assert fact in page.text


def test_the_page_stands_alone(tmp_path: Path) -> None:
    page = Page(report_training.report(training(tmp_path), tmp_path))
    assert {name for name, _ in page.tags} & {"script", "link", "iframe", "object"} == set()
    assert all(each["src"].startswith("data:image/jpeg;base64,") for each in page.all("img"))
    assert not re.search(r"https?:|url\(|@import", page.source)


def test_it_can_be_used_without_seeing_it_and_without_a_mouse(tmp_path: Path) -> None:
    page = Page(report_training.report(training(tmp_path), tmp_path))
    assert all(each["alt"] for each in page.all("img"))
    assert all(each["role"] == "img" and each["aria-label"] for each in page.all("svg"))
    regions = [each for each in page.all("div") if each.get("class") == "wide-table"]
    assert len(regions) == 2
    assert all(each["tabindex"] == "0" and each["aria-label"] for each in regions)
    assert all(each.get("scope") for each in page.all("th"))


def test_the_kept_word_is_shown_above_the_class_word(tmp_path: Path) -> None:
    page = Page(report_training.report(training(tmp_path), tmp_path))
    assert page.pictures("a portrait of <pip> at night") == [colour("blue")]
    assert page.pictures("a portrait of a fox at night") == [colour("black")]
    assert page.pictures("a close-up of a fox under water") == [colour("white")]
    order = [each["alt"] for each in page.all("img")]
    assert order.index("a portrait of <pip> at night") + 1 == order.index("a portrait of a fox at night")


def test_the_grid_has_a_column_for_each_step_and_the_kept_one_is_framed(tmp_path: Path) -> None:
    page = Page(report_training.report(training(tmp_path), tmp_path))
    assert page.pictures("step 50") == [colour("red")] * 2
    assert page.pictures("step 100") == [colour("blue")] * 2
    assert page.pictures("a fox") == [colour("black"), colour("white")]
    assert re.findall(r'<th scope="col" class="best">(.*?)</th>', page.source) == ["step 100, kept"]
    assert re.findall(r'<td class="best"><img [^>]*alt="(.*?)"', page.source) == ["step 100"] * 2
    assert re.findall(r'<tr class="best"><th scope="row">(.*?)</th>', page.source) == ["100"]


def test_the_grid_as_a_picture_frames_the_kept_column(tmp_path: Path) -> None:
    page = report_training.report(training(tmp_path), tmp_path)
    counts = {seen: count for count, seen in Image.open(page.with_name("grid.png")).getcolors(1 << 24)}
    assert min(counts[ImageColor.getrgb(name)] for name in ("red", "blue", "lime", "black")) > 2 * 60**2
    assert counts[ImageColor.getrgb(CHOSEN)] > 2000
    unmarked = report_training.report(training(tmp_path, **GOING), tmp_path)
    counts = {seen: count for count, seen in Image.open(unmarked.with_name("grid.png")).getcolors(1 << 24)}
    assert ImageColor.getrgb(CHOSEN) not in counts


@pytest.mark.parametrize(
    ("changes", "sentence", "without"),
    [
        (
            GOING,
            "<pip> is being learned from 3 pictures, 150 of at most 1000 steps and 5 min 0 s so far; no word is kept yet.",
            [],
        ),
        (NOTHING, "<pip> is to be learned from 3 pictures; no step is made yet.", ALL_PARTS[1:6]),
        (
            LOST,
            "; no word was kept, and it stopped because the loss is not a number any more.",
            ["the word that was kept"],
        ),
    ],
    ids=["going on", "not begun", "diverged"],
)
def test_what_is_not_there_is_left_out(
    changes: dict[str, Any], sentence: str, without: list[str], tmp_path: Path
) -> None:
    made = training(tmp_path, **changes)
    page = Page(report_training.report(made, tmp_path))
    assert sentence in page.text
    assert not [part for part in without if part in page.headings()]
    assert "best" not in [each.get("class") for each in page.all("td")]
    assert ("gave no word" in page.text) == bool(made.stopped)
    assert page.all("h2")
    assert "Version" not in page.text
    assert 2 <= len(report_training.lines(made)) <= 6


def test_while_nothing_is_kept_the_latest_look_is_shown(tmp_path: Path) -> None:
    page = Page(report_training.report(training(tmp_path, **GOING), tmp_path))
    assert "&lt;pip&gt; after 150 steps, the last look" in page.headings()
    assert page.pictures("a portrait of <pip> at night") == [colour("lime")]


def test_one_look_is_enough(tmp_path: Path) -> None:
    whole = training(tmp_path)
    page = Page(report_training.report(whole.but(points=whole.points[1:2], baseline=()), tmp_path))
    assert page.headings() == ALL_PARTS
    assert page.pictures("a portrait of a fox at night") == page.pictures("a fox") == []


def test_what_is_no_number_is_a_dash_and_no_curve(tmp_path: Path) -> None:
    whole = training(tmp_path)
    lost = dataclasses.replace(whole.points[2], measures=Measures(NAN, NAN, NAN, NAN, NAN), validation=math.inf)
    made = whole.but(points=[*whole.points[:2], lost], kept=150)
    page = Page(report_training.report(made, tmp_path))
    assert page.source.count("<td>–</td>") == 6
    assert not re.search(r"\b(nan|inf)\b", re.sub('base64,[^"]*', "", page.source))
    assert json.loads(json.dumps(report_training.summary(made), allow_nan=False))["measures"]["identity"] is None
    assert "identity –" in report_training.markdown(made, tmp_path / "none.png")


def test_tags_in_prompts_and_captions_are_text(tmp_path: Path) -> None:
    nasty = "a <script>alert('{subject}')</script> & \"日本語\" " + "very " * 200 + "{subject}" + "x" * 300
    told = lesson(tmp_path, [nasty, "{subject}"], captions=[["<img src=x>"], ["b <pip>"], ["c <pip>"]])
    page = Page(report_training.report(training(tmp_path, lesson=told), tmp_path))
    assert not page.all("script")
    assert "<script>alert('<pip>')</script> & \"日本語\"" in page.text
    assert "<img src=x>" in page.text


def test_equal_prompts_are_told_apart_by_their_seeds(tmp_path: Path) -> None:
    told = dataclasses.replace(lesson(tmp_path), previews=[Preview(PROMPTS[0], 11), Preview(PROMPTS[0], 12)])
    page = Page(report_training.report(training(tmp_path, lesson=told), tmp_path))
    assert page.text.count("seed 11") == page.text.count("seed 12") == 2
    assert "seed" not in Page(report_training.report(training(tmp_path), tmp_path)).text.replace("prompt and seed", "")


def test_a_great_training_stays_a_page_that_can_be_sent(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    names = [
        save(tmp_path, f"noise{n}", Image.fromarray(noise.integers(0, 256, (256, 256, 3), np.uint8))) for n in range(8)
    ]
    points = [point(10 * step, [names[(step + n) % 8] for n in range(64)]) for step in range(1, 31)]
    told = lesson(tmp_path, [f"{{subject}} number {n}" for n in range(64)])
    told = dataclasses.replace(told, pictures=names * 10, captions=[["<pip>"]] * 80, origins=["txt"] * 80)
    made = training(tmp_path, lesson=told, points=points, baseline=names * 8, kept=170, step=300, losses=[0.2] * 20_000)
    path = report_training.report(made, tmp_path)
    page = Page(path)
    assert path.stat().st_size < 5_000_000
    steps = [int(each) for each in re.findall(r'<th scope="col"[^>]*>step (\d+)', page.source)]
    assert len(steps) == report_training.MOST_STEPS
    assert {10, 170, 300} <= set(steps)
    assert "21 of the 30 looks" in page.text
    assert "… and 48 more, in the grid below." in page.text
    assert "… and 56 more." in page.text
    assert Counter(each["alt"] for each in page.all("img"))["step 170"] == 64
    assert len(re.findall(r"number 63", page.text)) == 1, "each prompt of the grid is there"


@given(st.integers(0, 200), st.data(), st.integers(3, 12))
def test_shown_steps_are_spread_and_hold_the_first_the_kept_and_the_last(
    count: int, data: st.DataObject, most: int
) -> None:
    kept = data.draw(st.none() | st.integers(0, count - 1)) if count else None
    shown = report_training.spread(count, kept, most)
    assert shown == sorted(set(shown))
    assert len(shown) == min(count, most)
    assert {0, count - 1, kept} - {None} <= set(shown) or not count
    gaps = np.diff([each for each in shown if each != kept])
    assert not len(gaps) or max(gaps) <= 2 * math.ceil(count / (most - 1))


def test_a_picture_that_is_gone_leaves_a_hole(tmp_path: Path) -> None:
    made = training(tmp_path)
    (tmp_path / made.points[1].pictures[0]).unlink()
    (tmp_path / made.lesson.pictures[0]).write_bytes(b"torn")
    page = Page(report_training.report(made, tmp_path))
    holes = [each["aria-label"] for each in page.all("div") if each.get("class") == "gone"]
    assert "reference 1: no picture" in holes
    assert holes.count("step 100: no picture") == 2


def test_a_report_replaces_the_one_before_and_touches_nothing_else(tmp_path: Path) -> None:
    made = training(tmp_path)
    desk = Desk(tmp_path, "pip")
    desk.put(made.but(**GOING), b"checkpoint")
    record = (desk.place(made.lesson.id) / "training.json").read_bytes()
    first = report_training.report(made.but(**GOING), tmp_path)
    second = report_training.report(made, tmp_path)
    assert first == second == desk.place(made.lesson.id) / "report.html"
    assert "is now the current one" in second.read_text()
    names = {each.name for each in second.parent.iterdir()}
    assert names == {"report.html", "grid.png", "training.json", "state-000150.safetensors"}
    assert (second.parent / "training.json").read_bytes() == record


def test_equal_trainings_have_equal_reports(tmp_path: Path) -> None:
    page = report_training.report(training(tmp_path), tmp_path)
    before = page.read_bytes(), page.with_name("grid.png").read_bytes()
    report_training.report(training(tmp_path), tmp_path)
    assert (page.read_bytes(), page.with_name("grid.png").read_bytes()) == before


def test_captions_say_where_they_came_from(tmp_path: Path) -> None:
    told = lesson(tmp_path, captions=[["a <pip>"], ["b <pip>", "c <pip>"], ["d <pip>"]])
    told = dataclasses.replace(told, origins=["txt", "template", "captioner"])
    page = Page(report_training.report(training(tmp_path, lesson=told), tmp_path))
    for said in (
        "from the text beside the picture",
        "from templates",
        "by a captioner",
        "2 captions, one of them drawn",
    ):
        assert page.text.count(said) == 1


def test_a_version_that_was_not_good_enough_says_how_to_use_it(tmp_path: Path) -> None:
    made = training(tmp_path, current=False, verdict="its score is below that of version 2.")
    page = Page(report_training.report(made, tmp_path))
    assert "Version 3 did not become the current one: its score is below that of version 2." in page.text
    assert "“restage embeddings use pip 3”" in page.text


def test_the_charts_mark_what_was_kept_and_where_it_stopped(tmp_path: Path) -> None:
    page = Page(report_training.report(training(tmp_path), tmp_path))
    labels = [each["aria-label"] for each in page.all("svg")]
    assert len([each for each in labels if each.startswith("score: from 0.5 at step 50")]) == 2, "wide and narrow"
    assert len([each for each in labels if each.startswith("loss: ") and each.endswith("kept: 100; stopped")]) == 2
    for name in curves.MEANING:
        assert len([each for each in labels if each.startswith(f"{name}: ")]) == 1
    assert "validation loss" in " ".join(labels)
    assert "learning rate" not in " ".join(labels), "one that never changes needs no chart"
    falling = training(tmp_path, rates=[0.005 - step / 1e5 for step in range(150)])
    assert "learning rate" in Page(report_training.report(falling, tmp_path)).source


@given(st.lists(st.floats(0, 10) | st.just(NAN), max_size=60))
def test_the_running_mean_is_that_of_the_last_losses_that_are_numbers(losses: list[float]) -> None:
    window = max(1, len(losses) // 10)
    for end, mean in enumerate(curves.running(losses), 1):
        last = [loss for loss in losses[max(0, end - window) : end] if math.isfinite(loss)]
        assert mean == pytest.approx(sum(last) / len(last), abs=1e-9) if last else math.isnan(mean)


def test_markdown_holds_the_grid_and_shows_the_word(tmp_path: Path) -> None:
    made = training(tmp_path)
    page = report_training.report(made, tmp_path)
    text = report_training.markdown(made, page.with_name("grid.png"))
    assert text.startswith("# Training of pip\n\n&lt;pip&gt; was learned")
    assert "Step 100: score 0.60, identity 0.61, editability 0.72, leak 0.03, collapse 0.04." in text
    data = re.search(r"!\[.*?\]\((data:image/jpeg;base64,.*?)\)", text)
    assert data and Image.open(io.BytesIO(base64.b64decode(data[1].partition(",")[2]))).width <= 1400
    begun = report_training.markdown(training(tmp_path, **NOTHING), tmp_path / "none.png")
    assert "data:" not in begun and "no step is made yet" in begun


def test_the_terminal_gets_a_few_lines(tmp_path: Path) -> None:
    assert report_training.lines(training(tmp_path)) == [
        "<pip> was learned from 3 pictures in 150 steps and 5 min 0 s; the word of step 100 was kept.",
        "It stopped because no preview since step 100 was better than its.",
        "Step 100: score 0.60, identity 0.61, editability 0.72, leak 0.03, collapse 0.04.",
        "Model toybox, 0.5 steps a second, peak memory 1.50 GiB.",
        "Version 3 is now the current one: its score of 0.60 is above 0.55 of version 2.",
    ]


def test_the_summary_is_plain_values(tmp_path: Path) -> None:
    found = json.loads(json.dumps(report_training.summary(training(tmp_path)), allow_nan=False))
    assert found["kept"] == 100
    assert found["word"] == "words/100"
    assert found["measures"]["score"] == pytest.approx(0.6)
    assert (found["version"], found["current"], found["pictures"], found["steps"]) == (3, True, 3, 150)
    going = report_training.summary(training(tmp_path, **GOING))
    assert (going["kept"], going["word"], going["measures"], going["validation"]) == (None, "", {}, None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.96, "10 s"),
        (59.6, "1 min 0 s"),
        (372.4, "6 min 12 s"),
        (3599.7, "1 h 0 min"),
        (7260, "2 h 1 min"),
    ],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert report_training.duration(seconds) == text
