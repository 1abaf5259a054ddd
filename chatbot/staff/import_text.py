"""Makes imported text fit for an answer file: paragraphs, lists and headings in plain Markdown."""

import html
import re
import unicodedata
from html.parser import HTMLParser

_TAG = re.compile(r"</?(?:p|ul|ol|li|br|div|h[1-6]|b|i|em|strong|a|span|table|tr|td)\b[^>]*>", re.IGNORECASE)
_ITEM = re.compile(r"(?:[-*+•·–▪●]|o(?=\s{2,}))\s+")
_NUMBERED = re.compile(r"(\d{1,2})[.)]\s+")
_STRAY_SPACE = re.compile(r"(?<=\w)\s+([:;,.?!])(?=\s|$)")
_BREAK = re.compile(r"\n+|[ \t]{3,}")
_SPACED_DASH = re.compile(r"\s+-\s+(?=[A-Z(0-9])")
_SENTENCE_BREAK = re.compile(r"(?<=[.!?])  (?=[A-Z])")
_TRAILING_LEAD = re.compile(r"(?:include|includes|including|are|is|following|:)\s*$")
_ACTIVE = re.compile(r"(?<!\\)([*`]|\](?=\()|<(?=[A-Za-z/!?]))")
WRAPPED = 50  # characters; a shorter line that ends without a full stop is a line of its own
LONG_PARAGRAPH = 200  # characters; below it two spaces after a full stop are a typing habit, not a new paragraph


def plain(text: str) -> str:
    """Return one line of text without tags, control characters or doubled spaces."""
    if _TAG.search(text):
        text = re.sub(r"<[^>]+>", " ", text)
    return " ".join(_visible(html.unescape(text)).split())


def to_markdown(text: str) -> str:
    """Return an imported text as Markdown, whether it came as HTML, as Markdown or as plain text."""
    return html_to_markdown(text) if _TAG.search(text) else prose_to_markdown(text)


def prose_to_markdown(text: str) -> str:
    """Return plain text as Markdown paragraphs and lists.

    Understands lines, runs of spaces that stand for lost line breaks, "-" and "•" lists, numbered lists and
    "Key Points" lists, whose points come back as the headings of the parts that they name.
    """
    chunks = [chunk for line in _unwrapped(_visible(html.unescape(text))) for chunk in _chunks(line)]
    blocks: list[tuple[str, str]] = []
    for chunk in _joined_marks(chunks):
        blocks += _blocks(chunk)
    return _written(_with_headings(blocks))


class _Visible(dict[int, str]):
    """A table for ``str.translate``: no control, format or private characters, and one kind of space."""

    def __missing__(self, code: int) -> str:
        category = unicodedata.category(chr(code))
        if category in ("Zs", "Cc"):
            self[code] = "\n" if code == ord("\n") else " "
        else:
            self[code] = "" if category in ("Cf", "Cs", "Co", "Cn", "Zl", "Zp") else chr(code)
        return self[code]


_VISIBLE = _Visible()


def _visible(text: str) -> str:
    """Return the text without control, format and private characters; every space is a plain one."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").expandtabs(4)
    return unicodedata.normalize("NFC", text.translate(_VISIBLE))


def _unwrapped(text: str) -> list[str]:
    """Return the lines, one that was broken in the middle of a sentence put together again."""
    lines: list[str] = []
    for line in text.split("\n"):
        before = lines[-1] if lines else ""
        if len(before) >= WRAPPED and before.rstrip()[-1:] not in ".:;?!" and re.match("[a-z][a-z]", line):
            lines[-1] = f"{before} {line}"
        else:
            lines.append(line)
    return lines


def _chunks(line: str) -> list[str]:
    chunks: list[str] = []
    for piece in _BREAK.split(line):
        start = 0
        for match in _SENTENCE_BREAK.finditer(piece):
            if match.start() - start >= LONG_PARAGRAPH:
                chunks.append(piece[start : match.start()])
                start = match.end()
        chunks += re.split(r"\s{2,}(?=-\s)", piece[start:])
    return [chunk.strip() for chunk in chunks if chunk.strip()]


def _joined_marks(chunks: list[str]) -> list[str]:
    """Return the chunks with a lone list mark put in front of the chunk it belongs to."""
    joined: list[str] = []
    for chunk in chunks:
        if joined and joined[-1] in ("-", "*", "•", "·"):
            joined[-1] = f"- {chunk}"
        else:
            joined.append(chunk)
    return [chunk for chunk in joined if chunk not in ("-", "*", "•", "·")]


def _blocks(chunk: str) -> list[tuple[str, str]]:
    """Return the chunk's blocks: ("item" | "number" | "paragraph" | "heading", text)."""
    if heading := re.match(r"#{1,6}\s+(?=\S)", chunk):
        return [("heading", " ".join(chunk[heading.end() :].split()))]
    if mark := _ITEM.match(chunk):
        return [("item", _one_line(chunk[mark.end() :]))]
    if mark := _NUMBERED.match(chunk):
        return [("number", _one_line(chunk[mark.end() :]))]
    lead, *items = _SPACED_DASH.split(chunk)
    if items and _TRAILING_LEAD.search(lead):  # "Risk factors include - Smoking - Obesity"
        return [("paragraph", _one_line(lead)), *(("item", _one_line(item)) for item in items)]
    return [("paragraph", _one_line(chunk))]


def _one_line(text: str) -> str:
    return _STRAY_SPACE.sub(r"\1", " ".join(text.split()))


def _with_headings(blocks: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the blocks with "Key Points" as a heading, and its points as headings where they stand again."""
    points: set[str] = set()
    result: list[tuple[str, str]] = []
    in_points = False
    for place, (kind, text) in enumerate(blocks):
        if kind == "paragraph" and text.rstrip(":").casefold() == "key points":
            in_points = place + 1 < len(blocks) and blocks[place + 1][0] == "item"
            if in_points:
                result.append(("heading", "Key points"))
            continue
        in_points = in_points and kind == "item"
        if in_points:
            points.add(text)
        is_again = kind == "paragraph" and text in points and place + 1 < len(blocks)
        result.append(("heading", text.rstrip(".")) if is_again else (kind, text))
    return result


def _written(blocks: list[tuple[str, str]]) -> str:
    """Return the blocks as Markdown; there is always a paragraph, because an answer begins with one."""
    blocks = [(kind, text) for kind, text in blocks if text]
    if blocks and not any(kind == "paragraph" for kind, _ in blocks):
        place = next(place for place, (kind, _) in enumerate(blocks) if kind != "heading" or place == len(blocks) - 1)
        blocks[place] = ("paragraph", blocks[place][1])
    lines: list[str] = []
    number, before = 0, ""
    for kind, text in blocks:
        number = number + 1 if kind == "number" else 0
        if lines and not (kind == before and kind in ("item", "number")):
            lines.append("")
        mark = {"heading": "## ", "item": "- ", "number": f"{number}. "}.get(kind, "")
        lines.append(mark + _escaped(text, begins_line=not mark))
        before = kind
    return "\n".join(lines)


def _escaped(text: str, *, begins_line: bool) -> str:
    """Return the text with every sign taken out of force that Markdown or a browser would read as more than text."""
    text = text.replace("**", "\x00")  # bold stays
    text = _ACTIVE.sub(r"\\\1", text).replace("\x00", "**")
    return re.sub(r"^([#>+~=|-])", r"\\\1", text) if begins_line else text


class _Html(HTMLParser):
    """Collects blocks from HTML; only what a reader sees is kept."""

    _BLOCKS = frozenset(("p", "div", "section", "article", "table", "tr", "blockquote", "pre", "dl", "dt", "dd"))
    _UNSEEN = frozenset(("script", "style", "head", "template", "noscript", "iframe", "object", "svg"))

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[tuple[str, str]] = []
        self._kind = "paragraph"
        self._text: list[str] = []
        self._lists: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self._UNSEEN:
            self._unseen += 1
        elif tag in ("ul", "ol"):
            self.flush()
            self._lists.append(tag)
        elif tag == "li":
            self.flush()
            self._kind = "number" if self._lists and self._lists[-1] == "ol" else "item"
        elif re.fullmatch(r"h[1-6]", tag):
            self.flush()
            self._kind = "heading"
        elif tag == "br":
            self.flush(keep_kind=True)
        elif tag in self._BLOCKS:
            self.flush(keep_kind=bool(self._lists))
        elif tag == "td":
            self._text.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._UNSEEN:
            self._unseen = max(self._unseen - 1, 0)
        elif tag in ("ul", "ol"):
            self.flush()
            if self._lists:
                self._lists.pop()
        elif tag == "li" or re.fullmatch(r"h[1-6]", tag):
            self.flush()
        elif tag in self._BLOCKS:
            self.flush(keep_kind=bool(self._lists))

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self._text.append(data)

    def flush(self, *, keep_kind: bool = False) -> None:
        """End the block that is being collected."""
        text = " ".join(_visible("".join(self._text)).split())
        if text:
            self.blocks.append((self._kind, text))
        self._text = []
        if not keep_kind or (text and self._kind in ("item", "number", "heading")):
            self._kind = "paragraph"


def html_to_markdown(text: str) -> str:
    """Return what a reader sees of an HTML text, as Markdown paragraphs, lists and headings; links become text."""
    parser = _Html()
    parser.feed(text)
    parser.close()
    parser.flush()
    return _written(_with_headings(parser.blocks))
