"""A text with Jinja in it, made into the text of one day."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from datetime import date
from threading import Thread
from typing import TYPE_CHECKING, Any

from models.system.errors import UserError
from tasks.settings import mistakes

if TYPE_CHECKING:
    from jinja2 import nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_SOURCE_CHARACTERS = 3_000
MAX_TEXT_CHARACTERS = 10_000
MAX_SECONDS = 2.0
"""For one text. They are written by the owner of the machine, so this is against slips."""
ASKS_THE_CLOCK = ("today", "now", "utcnow", "fromtimestamp")
"""Methods of dates whose answer depends on when somebody asks: the same day has to give the same text."""


class RefusedTemplateError(Exception):
    """A template that is not allowed. The message is a sentence without file and key, which the caller knows."""


class TooLongError(BaseException):
    """Raised inside a template that takes too long; no template can catch it."""


def render(source: str, values: Mapping[str, str | int | date]) -> str:
    """Return the text that a template gives."""
    if "{{" not in source and "{%" not in source:
        return source
    from jinja2 import TemplateSyntaxError, UndefinedError  # only here: most texts have no template in them
    from jinja2.sandbox import SecurityError

    try:
        return run_in_time(lambda: render_in_sandbox(source, values))
    except RefusedTemplateError as error:
        raise UserError(str(error)) from None
    except TooLongError:
        raise UserError("its template takes too long: make it simpler") from None
    except TemplateSyntaxError as error:
        hint = " (a choice inside a choice is written { {a|b}|c}, with a space)" if "{{" in source else ""
        raise UserError(f"its template is not valid: {first_line(error.message or '')}{hint}") from None
    except UndefinedError as error:
        raise UserError(f"its template fails: {first_line(str(error))}: check its spelling") from None
    except SecurityError:
        raise UserError("its template reaches for what a text may not touch: use the given names and filters") from None
    except ZeroDivisionError:
        raise UserError("its template divides by zero: check the number after / or %") from None
    except (RecursionError, MemoryError, SyntaxError):  # how Python gives up on deep nesting
        raise UserError("its template is nested too deeply: write it flatter") from None
    except Exception as error:  # whatever else a template does is its own mistake, and no reason to stop the others
        raise UserError(f"its template fails: {first_line(str(error)) or type(error).__name__}: change it") from None


def run_in_time(work: Callable[[], str]) -> str:
    """Return what the work returns, or raise what it raises; after MAX_SECONDS it is stopped."""
    results: list[str] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    worker = Thread(target=run, name="template", daemon=True)
    worker.start()
    worker.join(MAX_SECONDS)
    if worker.is_alive():
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(worker.ident or 0), ctypes.py_object(TooLongError))
        worker.join(MAX_SECONDS)
    if worker.is_alive():  # inside a single long operation; it ends by itself, and nobody waits for it
        raise TooLongError
    if errors:
        raise errors[0]
    return results[0]


def render_in_sandbox(source: str, values: Mapping[str, str | int | date]) -> str:
    """Return the text of a template that sees only these values, `range` and Jinja's own filters."""
    if len(source) > MAX_SOURCE_CHARACTERS:
        raise RefusedTemplateError(f"its template has {len(source)} characters: write at most {MAX_SOURCE_CHARACTERS}")
    environment = new_sandbox()
    check_names(environment.parse(source), list(values))
    parts, length = [], 0
    for part in environment.from_string(source).generate(dict(values)):
        parts.append(part)
        length += len(part)
        if length > MAX_TEXT_CHARACTERS:
            raise RefusedTemplateError(
                f"its template makes a text of more than {MAX_TEXT_CHARACTERS} characters: make it shorter"
            )
    return "".join(parts)


def new_sandbox() -> ImmutableSandboxedEnvironment:
    """Return Jinja as texts use it: nothing of Python to reach, no files to include, and no clock."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range

    class TextSandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"*", "**"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            check_size(operator, left, right)
            return super().call_binop(context, operator, left, right)

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            asks = isinstance(obj, date) and attr in ASKS_THE_CLOCK
            return not asks and super().is_safe_attribute(obj, attr, value)

    # No comments: {# is just text here, as in {#fox|#cat}.
    environment = TextSandbox(
        undefined=StrictUndefined, comment_start_string="\0{", comment_end_string="}\0", finalize=check_shown
    )
    environment.globals = {"range": safe_range}
    return environment


def check_size(operator: str, left: object, right: object) -> None:
    """Refuse what would fill the memory in a single operation."""
    for part, times in ((left, right), (right, left)):
        many = isinstance(times, int) and times > MAX_TEXT_CHARACTERS
        if operator == "**" or (many and isinstance(part, str | list | tuple)):
            raise RefusedTemplateError(f"its template asks for too much with {operator}: write it out")


def check_shown(value: object) -> object:
    """Refuse what is no text to show; return everything else as it is."""
    if not isinstance(value, str | int | float | date) and not _is_undefined(value):
        raise RefusedTemplateError(
            "its template shows a list or nothing at all: show a text, a number or a date"
            if value is None or isinstance(value, list | tuple | range | dict)
            else "its template shows something that is no text, number or date: use the given names"
        )
    return value


def _is_undefined(value: object) -> bool:
    from jinja2 import Undefined

    return isinstance(value, Undefined)


def check_names(tree: nodes.Template, known: list[str]) -> None:
    """Refuse a name that does not exist, also in a branch that is not taken today."""
    from jinja2.meta import find_undeclared_variables

    for name in sorted(find_undeclared_variables(tree) - {*known, "range"}):
        raise RefusedTemplateError(f"its template uses {name}, which is unknown{mistakes.did_you_mean(name, known)}")


def first_line(text: str) -> str:
    """Return the first line, short and without a full stop: it stands inside a sentence."""
    return (text.strip().splitlines() or [""])[0][:200].rstrip(".")
