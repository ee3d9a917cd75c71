"""The page's sections on quality: what a classifier that the product never asks, the oracle, says of toybox's pictures."""

from __future__ import annotations

from bench import plot
from bench.telling import Result, Section, Told, percent, short

TRAITS = ("kind", "colour", "belly", "eyes", "marking", "marking_colour", "accessory", "scene", "framing")


def toybox(found: Result) -> Told:
    asked, drawn = found["prompts"]["agreement"], found["vae"]["oracle_on_drawings"]
    table = [["what a prompt asks for", "seen by the oracle", "the oracle on drawings"]]
    table += [[name.replace("_", " "), percent(asked[name]), percent(drawn[name])] for name in TRAITS if name in asked]
    least = min((name for name in TRAITS if name in asked), key=lambda name: asked[name])
    says = (
        f"Of {found['prompts']['prompts']} prompts toybox obeys kind, colour and scene in {percent(asked['kind'])}, "
        f"{percent(asked['colour'])} and {percent(asked['scene'])}; weakest is the {least.replace('_', ' ')} with "
        f"{percent(asked[least])}."
    )
    return Told(says, table, {}, ["No score can be better than the oracle itself, which the last column shows."])


def references(found: Result) -> Told:
    all_of = found["summary"]
    ways = {"chosen by the filter": "chosen", "at random": "random", "most like the prompt": "prompt"}
    table = [["the set", "compared by", "candidates", "personas", "one and the same character", "traits that agree"]]

    def row(name: str, key: str, of: Result) -> list[str]:
        same = percent(of[key]) if key in of and key != "pool" else "-"
        by = ("toybox's identity scorer" if of.get("scorer") else "CLIP") if key == "chosen" else "-"
        return [name, by, str(of["candidates"]), str(of["personas"]), same, percent(of[f"{key}_by_trait"])]

    table += [row(name, key, all_of) for name, key in ways.items()]
    table.append(row("all candidates", "pool", all_of))
    table += [row("chosen by the filter", "chosen", each) for each in found["by candidates"][1:]]
    says = (
        f"Where {all_of['candidates']} candidates are several characters, the filter's set is one and the same in "
        f"{percent(all_of['chosen'])} of {all_of['personas']} personas, a random one in {percent(all_of['random'])}"
    )
    shares = {name: 100 * all_of[key] for name, key in ways.items()}
    better = [
        each for each in found["by candidates"] if each.get("scorer") and each["candidates"] == all_of["candidates"]
    ]
    for each in better:
        says += f"; compared by the identity scorer that ships with toybox, in {percent(each['chosen'])}"
        shares = {"chosen by identity": 100 * each["chosen"]} | shares
    says += "."
    notes = [
        "Personas count whose commonest character is at most half of the candidates. The 48 candidates are the first of the 96. "
        "With some 30 personas the standard error is about 6 points. The characters are others than those on which the filter "
        "and the scorer were tried out."
    ]
    return Told(says, table, {"references": plot.bars(shares, "sets that are one character", unit=" %")}, notes)


def training(found: Result) -> Told:
    rows = {name: row for name, row in found["summary"].items() if isinstance(row, dict) and "traits" in row}
    table = [["the word", "characters", "traits right", "scene and framing obeyed", "steps"]]
    for name, row in rows.items():
        steps = f"{row['steps']:.0f}" if "steps" in row else "-"
        table.append([name, str(row["characters"]), percent(row["traits"]), percent(row["obeyed"]), steps])
    auto, plain = rows["automatic"], rows["class word"]
    says = (
        f"After {auto['steps']:.0f} steps on average, where it stops by itself, a word shows {percent(auto['traits'])} of a "
        f"character's traits in new scenes; the class word alone shows {percent(plain['traits'])}."
    )
    shares = {name: 100 * row["traits"] for name, row in rows.items()}
    notes = [
        "Rows are means over the characters that have them: rows of different numbers of characters compare only roughly.",
        "The rule by which it stops was chosen on recorded trainings of these very characters.",
    ]
    return Told(says, table, {"training": plot.bars(shares, "traits right", unit=" %")}, notes)


def renders(found: Result) -> Told:
    table = [["of the posts' pictures", "with gates", "without"]]
    table.append(["the character in its scene", percent(found["right, gated"]), percent(found["right, ungated"])])
    table += [
        [name, percent(found[f"{name}, gated"]), percent(found[f"{name}, ungated"])]
        for name in ("traits", "scene", "framing", "accessory")
    ]
    says = (
        f"Of {found['posts']} posts {percent(found['right, gated'])} show the character with all its traits in the scene that "
        f"was asked for; without gates it would be {percent(found['right, ungated'])}."
    )
    notes = [
        f"{found['without a picture']} posts got no picture, which counts as wrong; {short(found['candidates a post'])} "
        "candidates were made for each. The lower rows are of the posts with a picture.",
        f"The characters are those of seed {found['seed']}; the gates' cut on identity was chosen on pictures of seed 5's.",
    ]
    return Told(says, table, {}, notes)


def faults(found: Result) -> Told:
    table = [["publisher", "outcome", "crashes by an exception", "processes killed"]]
    for name in sorted({*found["crashes"], *found["killed"]}):
        who, _, what = name.partition(" / ")
        table.append([who, what, str(found["crashes"].get(name, 0)), str(found["killed"].get(name, 0))])
    says = (
        f"In {found['cases']} cases with faults of the network and crashes, and {found['kills']} with processes that were "
        "killed, every post went out exactly once."
    )
    return Told(says, table, {}, ["A case in which a post is lost or goes out twice ends the benchmark with an error."])


SECTIONS = (
    Section("references", "One character found among many", references),
    Section("training", "What a word learns, and when it is enough", training),
    Section("renders", "Posts that show the character in its scene", renders),
    Section("faults", "Faults and crashes while publishing", faults),
    Section("toybox", "What the built-in model can do", toybox),
)
