"""The take-away sheet as a PDF, made in memory and kept nowhere."""

from functools import lru_cache
from pathlib import Path

from fontTools.ttLib import TTFont
from fpdf import FPDF
from fpdf.enums import XPos, YPos

from chatbot.knowledge import Knowledge
from chatbot.page.review import review_line
from chatbot.page.sheet import Sheet, SheetEntry, calls, intro
from chatbot.page.words import Words
from chatbot.reply import Citation
from chatbot.text import markdown_blocks

FONTS = Path(__file__).parent / "fonts"
REGULAR, BOLD = FONTS / "DejaVuSans.ttf", FONTS / "DejaVuSans-Bold.ttf"
MISSING = "□"  # in the place of a sign that the fonts do not have
LETTER_REGIONS = frozenset({"us", "ca", "mx", "ph", "pr"})  # where paper is 8.5 by 11 inches
MARGIN_MM, INDENT_MM, LINE_MM = 18.0, 6.0, 6.2
NOTE_LINES = 5


def sheet_pdf(sheet: Sheet, knowledge: Knowledge, words: Words, *, language: str) -> bytes:
    """Return the sheet as a PDF document.

    Args:
        sheet: What stands on it.
        knowledge: The clinic's facts and notices.
        words: The page's words, of a language that is written from left to right.
        language: Its code, for screen readers.
    """
    page = _SheetPage(knowledge.clinic.region, language)
    page.set_title(_printable(words.sheet_title))
    page.line_of(words.sheet_title, size=20, bold=True)
    page.line_of(intro(sheet, knowledge, words), size=10)
    page.line_of(calls(knowledge, words), bold=True)
    if knowledge.has_drafts:
        page.line_of(knowledge.texts.demonstration_notice, size=10, boxed=True)
    if sheet.summary:
        page.heading(words.sheet_summary)
        page.items(sheet.summary)
    if sheet.entries:
        page.heading(words.sheet_questions)
    for entry in sheet.entries:
        _write_entry(page, entry, words, knowledge.texts.being_reviewed)
    page.heading(words.sheet_visit)
    if sheet.unanswered:
        page.line_of(words.sheet_unanswered)
        page.items(sheet.unanswered)
    page.items(sheet.visit_questions)
    page.heading(words.sheet_notes)
    page.note_lines()
    return bytes(page.output())


def _write_entry(page: "_SheetPage", entry: SheetEntry, words: Words, being_reviewed: str) -> None:
    page.line_of(f"“{entry.question}”", size=12, grey=True)
    if entry.answer is None or entry.citation is None:
        for line in entry.lines:
            page.line_of(line)
        return
    page.line_of(entry.answer.title, size=13, bold=True)
    for block in markdown_blocks(entry.answer.text):
        match block.kind:
            case "heading":
                page.line_of(block.text, bold=True)
            case "item":
                page.item(block.text, mark=f"{block.number}." if block.number is not None else "•")
            case "paragraph":
                page.line_of(block.text)
    page.line_of(source_line(entry.citation, words, being_reviewed), size=9, grey=True)


def source_line(citation: Citation, words: Words, being_reviewed: str) -> str:
    """Return where an answer comes from and who vouches for it, as one line of plain text."""
    state = review_line(citation, words, being_reviewed)
    return f"{words.source} {citation.publisher}: {citation.title}, {citation.url}. {state}"


class _SheetPage(FPDF):
    """Lines, headings and lists, one below the other."""

    def __init__(self, region: str, language: str) -> None:
        super().__init__(format="letter" if region in LETTER_REGIONS else "a4")
        self.add_font("sheet", "", REGULAR)
        self.add_font("sheet", "B", BOLD)
        self.set_lang(language)
        self.set_margins(MARGIN_MM, MARGIN_MM)
        self.set_auto_page_break(True, MARGIN_MM)
        self.add_page()

    def footer(self) -> None:
        """Number the page."""
        self.set_y(-MARGIN_MM * 0.7)
        self.set_font("sheet", size=9)
        self.cell(0, 5, str(self.page_no()), align="C")

    def line_of(
        self, text: str, *, size: float = 11, bold: bool = False, grey: bool = False, boxed: bool = False
    ) -> None:
        """Write a paragraph."""
        self.set_font("sheet", "B" if bold else "", size)
        self.set_text_color(70 if grey else 0)
        self.multi_cell(
            0,
            LINE_MM * size / 11,
            _printable(text),
            border=1 if boxed else 0,
            align="L",
            new_x=XPos.LMARGIN,
            new_y=YPos.NEXT,
        )
        self.ln(1.5)

    def heading(self, text: str) -> None:
        """Write a part's heading, never alone at the foot of a page."""
        if self.will_page_break(4 * LINE_MM):
            self.add_page()
        self.ln(2)
        self.line_of(text, size=15, bold=True)

    def items(self, lines: tuple[str, ...]) -> None:
        """Write a list."""
        for line in lines:
            self.item(line)

    def item(self, text: str, *, mark: str = "•") -> None:
        """Write one item of a list, set in behind its mark."""
        self.set_font("sheet", "", 11)
        self.set_text_color(0)
        if self.will_page_break(LINE_MM):
            self.add_page()
        self.cell(INDENT_MM, LINE_MM, mark)
        self.multi_cell(0, LINE_MM, _printable(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.ln(0.8)

    def note_lines(self) -> None:
        """Draw lines to write on."""
        for _ in range(NOTE_LINES):
            if self.will_page_break(9):
                self.add_page()
            self.ln(9)
            self.line(self.l_margin, self.get_y(), self.w - self.r_margin, self.get_y())


@lru_cache(maxsize=1)
def _signs() -> frozenset[int]:
    """Return every sign that both fonts can write."""
    fonts = [TTFont(path, lazy=True) for path in (REGULAR, BOLD)]
    return frozenset.intersection(*(frozenset(font.getBestCmap()) for font in fonts))


def _printable(text: str) -> str:
    """Return the text as far as the fonts can write it: the library would name missing signs in its log."""
    return "".join(sign if ord(sign) in _signs() else MISSING if not sign.isspace() else " " for sign in text)
