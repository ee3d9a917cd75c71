"""Prompts and what they mean, each worked out by hand from A1111's rules.

A pair is a prompt and its spans: plain text where it weighs 1, (text, weight) otherwise, and BREAK for a new chunk.
"""

from models.sdxl.prompt_encoder import BREAK, WeightedText

Expected = list[str | tuple[str, float] | WeightedText]

PLAIN: list[tuple[str, Expected]] = [
    ("", []),
    ("a photo of a cat", ["a photo of a cat"]),
    ("A Photo Of A CAT", ["A Photo Of A CAT"]),
    ("  a   cat ,  a dog  ", ["  a   cat ,  a dog  "]),
    ("a cat\nin a hat\ttoday", ["a cat\nin a hat\ttoday"]),
    ("a cat, a dog, a tree", ["a cat, a dog, a tree"]),
    ("what a cat!", ["what a cat!"]),
    ("wow!! a dog!!!", ["wow!! a dog!!!"]),
    ("the man's hat isn't red, they're blue", ["the man's hat isn't red, they're blue"]),
    ("Müller in Zürich", ["Müller in Zürich"]),
    ("кот в шляпе", ["кот в шляпе"]),
    ("猫と帽子", ["猫と帽子"]),
    ("a cat 🐈 in a hat", ["a cat 🐈 in a hat"]),
    ("100% $5 #1 & {x} @home", ["100% $5 #1 & {x} @home"]),
    ("time: noon", ["time: noon"]),
    ("16:9 photo", ["16:9 photo"]),
    ("a:b:c::", ["a:b:c::"]),
    ("a | b", ["a | b"]),
    ("<unknown> in the forest", ["<unknown> in the forest"]),
    ("a <3 b > c", ["a <3 b > c"]),
    ("a breaking wave, break, Break", ["a breaking wave, break, Break"]),
    ("BREAKFAST on the OUTBREAK, NO_BREAK", ["BREAKFAST on the OUTBREAK, NO_BREAK"]),
    ("cat++ and dog--", ["cat++ and dog--"]),
    # Escapes are text, and text alone weighs 1.
    (r"a cat \(animal\)", ["a cat (animal)"]),
    (r"\[a\] \[b\]", ["[a] [b]"]),
    (r"a \\ b", [r"a \ b"]),
    (r"\\\(x\\\)", [r"\(x\)"]),
    (r"\(x:1.3\)", ["(x:1.3)"]),
    # A backslash before anything else vanishes, and so does one at the end.
    (r"a\b c\n", ["ab cn"]),
    ("a cat\\", ["a cat"]),
    # A closing bracket with nothing to close is text; so is a number that belongs to no bracket.
    ("a) cat]", ["a) cat]"]),
    ("a smile :) here", ["a smile :) here"]),
    ("x:1.3) y", ["x:1.3) y"]),
    # Brackets around nothing say nothing, and weights that come to 1 are no weights.
    ("()", []),
    ("a ()[] b", ["a  b"]),
    ("(", []),
    ("a (cat:1) b", ["a cat b"]),
    ("a (cat:1.0), b", ["a cat, b"]),
    ("a [(cat)] b", ["a cat b"]),
    ("[[((x))]]", ["x"]),
    ("((a:0.5):2) b", ["a b"]),
    ("[[[(((x)))]]] b", ["x b"]),
    ("[[(x:1.21)]] b", ["x b"]),
    # The tokenizer splits at its own end of text, and the encoder pools there.
    ("a cat <|endoftext|> a dog", ["a cat <|endoftext|> a dog"]),
]

WEIGHTED: list[tuple[str, Expected]] = [
    ("(x)", [("x", 1.1)]),
    ("((x))", [("x", 1.21)]),
    ("(((x)))", [("x", 1.331)]),
    ("[x]", [("x", 1 / 1.1)]),
    ("[[x]]", [("x", 1 / 1.21)]),
    ("(x:1.3)", [("x", 1.3)]),
    ("(x:0.5)", [("x", 0.5)]),
    ("(x:.5)", [("x", 0.5)]),
    ("(x:2.)", [("x", 2.0)]),
    ("(x:+1.3)", [("x", 1.3)]),
    ("(x:-1)", [("x", -1.0)]),
    ("(x:0)", [("x", 0.0)]),
    ("(x : 1.3 )", [("x ", 1.3)]),
    ("a (red cat:1.2) in a hat", ["a ", ("red cat", 1.2), " in a hat"]),
    ("a (cat) and [dog]", ["a ", ("cat", 1.1), " and ", ("dog", 1 / 1.1)]),
    ("(a)(b)", [("ab", 1.1)]),
    ("(a) (b)", [("a", 1.1), " ", ("b", 1.1)]),
    ("(a (b:1.5) c)", [("a ", 1.1), ("b", 1.65), (" c", 1.1)]),
    ("(a (b:1.5) c:2)", [("a ", 2.0), ("b", 3.0), (" c", 2.0)]),
    ("((a:0.5) b:2)", ["a", (" b", 2.0)]),
    ("(a [b] c)", [("a ", 1.1), "b", (" c", 1.1)]),
    ("[a (b) c]", [("a ", 1 / 1.1), "b", (" c", 1 / 1.1)]),
    ("[(x:1.21)]", [("x", 1.1)]),
    (
        "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
        [
            "a ",
            ("house", 1.573),  # 1.3 * 1.1 within the bracket that is never closed, 1.1
            (" ", 1.1),
            "on",
            (" a ", 1.1),
            ("hill", 0.55),
            (", sun, ", 1.1),
            ("sky", 1.4641),
            (".", 1.1),
        ],
    ),
    # Never closed: to the end. Closed twice: the second is text.
    ("a (cat", ["a ", ("cat", 1.1)]),
    ("a ((cat) dog", ["a ", ("cat", 1.21), (" dog", 1.1)]),
    ("a [cat", ["a ", ("cat", 1 / 1.1)]),
    ("(a) b) c", [("a", 1.1), " b) c"]),
    ("[a] b] c", [("a", 1 / 1.1), " b] c"]),
    # Brackets of different shape may overlap: each counts from where it opens to where it closes.
    ("(a [b) c]", [("a ", 1.1), "b", (" c", 1 / 1.1)]),
    ("(a]b)", [("a]b", 1.1)]),
    ("[a)b]", [("a)b", 1 / 1.1)]),
    # Only a number makes a weight, and only in round brackets.
    ("(x:high)", [("x:high", 1.1)]),
    ("(x:1,3)", [("x:1,3", 1.1)]),
    ("(x:1.2.3)", [("x:1.2.3", 1.1)]),
    ("(x:)", [("x:", 1.1)]),
    ("(x:1.3", [("x:1.3", 1.1)]),
    ("[x:1.3]", [("x:1.3", 1 / 1.1)]),
    ("(a:b:1.2)", [("a:b", 1.2)]),
    ("(16:9)", [("16", 9.0)]),
    ("(time: noon)", [("time: noon", 1.1)]),
    ("[a:b:0.5] [c|d]", [("a:b:0.5", 1 / 1.1), " ", ("c|d", 1 / 1.1)]),
    (r"(a \(b\):1.3)", [("a (b)", 1.3)]),
    (r"(a\))", [("a)", 1.1)]),
    (r"\((a)\)", ["(", ("a", 1.1), ")"]),
    ("(a cat, a dog:1.2), a tree", [("a cat, a dog", 1.2), ", a tree"]),
    ("(<pip>:1.3) in the forest", [("<pip>", 1.3), " in the forest"]),
    # New chunks.
    ("a BREAK b", ["a", BREAK, "b"]),
    ("a  BREAK\n b", ["a", BREAK, "b"]),
    ("a,BREAK,b", ["a,", BREAK, ",b"]),
    ("BREAK", [BREAK]),
    ("BREAK a", [BREAK, "a"]),
    ("a BREAK", ["a", BREAK]),
    ("a BREAK BREAK b", ["a", BREAK, BREAK, "b"]),
    ("(a BREAK b:1.3) c", [("a", 1.3), BREAK, ("b", 1.3), " c"]),
    ("(a) BREAK (b)", [("a", 1.1), BREAK, ("b", 1.1)]),
    (r"BR\EAK", ["BREAK"]),
]


def spans_of(expected: Expected) -> list[WeightedText]:
    return [_span(one) for one in expected]


def _span(one: str | tuple[str, float] | WeightedText) -> WeightedText:
    if isinstance(one, WeightedText):
        return one
    return WeightedText(one, 1.0) if isinstance(one, str) else WeightedText(*one)
