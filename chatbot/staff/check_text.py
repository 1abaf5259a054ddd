"""What must not stand in a text that patients read: numbers of its own, and what a page could not show safely."""

import re
import unicodedata
from collections.abc import Iterator

from markdown_it import MarkdownIt

from chatbot.errors import Problem
from chatbot.knowledge import Clinic

_WITH_HTML = MarkdownIt("commonmark", {"html": True}).enable("table")
_PHONE = re.compile(r"(?<![\w./:-])\+?\(?\d{1,4}\)?(?:[ .\u2011-]\(?\d{2,4}\)?){1,4}(?![\w/%°])")
_CALLED = re.compile(
    r"\b(?:call|calls|calling|dial|dials|ring|text|phone|fax)\s+(?:\w+\s+(?:at|on)\s+)?\**(\d{3,6})\b(?![-.]\d)", re.I
)
_RANGE = re.compile(r"^\d{4}-\d{2}-\d{2}$|^(?:19|20)\d{2}-(?:19|20)?\d{2}$|^\d{1,3}-\d{1,3}$")
_TAG = re.compile(r"<[A-Za-z/!?][^>]*>?")
SAFE_LINK = re.compile(r"https?://", re.IGNORECASE)
MAX_QUOTED = 40


def number_problems(text: str, clinic: Clinic | None, path: str, field: str) -> Iterator[Problem]:
    """Yield a problem for every phone number that stands in the text instead of a placeholder.

    Args:
        text: As it stands in the file, placeholders not filled in.
        clinic: Whose own numbers are looked for too; None when its file cannot be read.
        path: The file, for the problem.
        field: The field, for the problem.
    """
    names = {} if clinic is None else {
        clinic.phone: "{clinic_phone}", clinic.emergency_number: "{emergency_number}",
        clinic.crisis_number: "{crisis_number}", clinic.poison_number: "{poison_number}",
    }  # fmt: skip
    found = {match.group() for match in _PHONE.finditer(text) if _is_phone(match.group())}
    found |= {match.group(1) for match in _CALLED.finditer(text)}
    for number in names:
        if re.search(rf"(?<![\w.,:/-]){re.escape(number)}(?![\w%/:°-]|[.,]\d)", text):
            found.add(number)
    for number in sorted(found):
        placeholder = next((name for own, name in names.items() if _digits(own) == _digits(number)), None)
        mend = f"write {placeholder} instead" if placeholder else "put it into clinic.yaml and write its {name} here"
        yield Problem(path, field, f"holds the phone number {number!r}; {mend}")


def _digits(text: str) -> str:
    return "".join(c for c in text if c.isdigit())


def _is_phone(found: str) -> bool:
    return 7 <= len(_digits(found)) <= 15 and not _RANGE.match(found)


def safety_problems(markdown: str, path: str, field: str) -> Iterator[Problem]:
    """Yield a problem for everything in a Markdown text that a page could not show, or not safely."""
    yield from sign_problems(markdown, path, field)
    for token in _WITH_HTML.parse(markdown):
        match token.type:
            case "html_block":
                yield _html(token.content, path, field)
            case "table_open":
                yield Problem(path, field, "holds a table, which the page cannot show; write a list", "warning")
            case "fence" | "code_block":
                message = "holds a part that is set in like program code; take the four spaces or ``` out"
                yield Problem(path, field, message, "warning")
            case "inline":
                for child in token.children or []:
                    if child.type == "html_inline":
                        yield _html(child.content, path, field)
                    elif child.type == "image":
                        yield Problem(path, field, "holds an image, which is never shown; say it in words")
                    elif child.type == "link_open":
                        yield from _link(str(child.attrGet("href") or ""), path, field)
            case _:
                pass
    # The parser drops links that it finds dangerous and leaves their text; staff should know all the same.
    for match in re.finditer(r"\]\(\s*<?\s*((?:javascript|vbscript|data|file)\s*:[^)\s]*)", markdown, re.IGNORECASE):
        yield Problem(
            path, field, f"holds the link {match.group(1)[:MAX_QUOTED]!r}; only https:// addresses are allowed"
        )


def line_problems(text: str, path: str, field: str) -> Iterator[Problem]:
    """Yield a problem for everything in a line of plain text that a page could not show, or not safely."""
    yield from sign_problems(text, path, field)
    if match := _TAG.search(text):
        yield _html(match.group(), path, field)


def _html(content: str, path: str, field: str) -> Problem:
    shown = " ".join(content.split())[:MAX_QUOTED]
    return Problem(path, field, f"holds HTML ({shown!r}), which is shown as it stands; write it in plain words")


def _link(href: str, path: str, field: str) -> Iterator[Problem]:
    if not SAFE_LINK.match(href):
        yield Problem(path, field, f"holds the link {href[:MAX_QUOTED]!r}; only https:// addresses are allowed")


def sign_problems(text: str, path: str, field: str) -> Iterator[Problem]:
    """Yield one problem for each kind of sign that cannot be seen or that turns the reading direction."""
    hidden = sorted({c for c in text if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn")})
    for sign in hidden:
        name = unicodedata.name(sign, f"U+{ord(sign):04X}").lower()
        yield Problem(path, field, f"holds an invisible sign ({name}); delete the word around it and type it again")
