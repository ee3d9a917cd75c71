"""A text with Jinja in it, made into the text of one day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING

from models.system.errors import UserError
from tasks.settings import mistakes

if TYPE_CHECKING:
    from jinja2 import nodes

LONGEST_SOURCE = 3_000


def render(source: str, values: Mapping[str, str | int | date]) -> str:
    """The text that a template gives; a mistake is told without file and key, which the caller knows."""
    if "{{" not in source and "{%" not in source:
        return source
    from jinja2 import TemplateSyntaxError, UndefinedError  # only here: most texts have no template in them
    from jinja2.sandbox import SecurityError

    from tasks.calendar.sandbox import RefusedError

    try:
        return _rendered(source, values)
    except RefusedError as error:
        raise UserError(str(error)) from None
    except TemplateSyntaxError as error:
        hint = " (a choice inside a choice is written { {a|b}|c}, with a space)" if "{{" in source else ""
        raise UserError(f"its template is not valid: {_first(error.message or '')}{hint}") from None
    except UndefinedError as error:
        raise UserError(f"its template fails: {_first(str(error))}: check its spelling") from None
    except SecurityError:
        raise UserError("its template reaches for what a text may not touch: use the given names and filters") from None
    except ZeroDivisionError:
        raise UserError("its template divides by zero: check the number after / or %") from None
    except (RecursionError, MemoryError, SyntaxError):  # how Python gives up on deep nesting
        raise UserError("its template is nested too deeply: write it flatter") from None
    except Exception as error:  # whatever else a template does is its own mistake, and no reason to stop the others
        raise UserError(f"its template fails: {_first(str(error)) or type(error).__name__}: change it") from None


def _first(text: str) -> str:
    """The first line, short, without a full stop: it stands inside a sentence."""
    return (text.strip().splitlines() or [""])[0][:200].rstrip(".")


def _rendered(source: str, values: Mapping[str, str | int | date]) -> str:
    from jinja2 import Template

    from tasks.calendar.sandbox import Fence, RefusedError, Sandbox, short_enough

    if len(source) > LONGEST_SOURCE:
        raise RefusedError(f"its template has {len(source)} characters: write at most {LONGEST_SOURCE}")
    sandbox = Sandbox()
    tree = Fence().visit(sandbox.parse(source))
    _check_names(tree, list(values))
    tree.set_environment(sandbox)
    parts = []
    for part in Template.from_code(sandbox, sandbox.compile(tree), sandbox.globals).generate(dict(values)):
        parts.append(part)
        short_enough(sum(map(len, parts)))
    return "".join(parts)


def _check_names(tree: nodes.Template, known: list[str]) -> None:
    """Also where the name stands in a branch that is not taken today."""
    from jinja2.meta import find_undeclared_variables

    from tasks.calendar.sandbox import RefusedError

    for name in sorted(find_undeclared_variables(tree) - {*known, "range"}):
        raise RefusedError(f"its template uses {name}, which is unknown{mistakes.near(name, known)}")
