"""Reads the health-topics XML that MedlinePlus publishes: one answer a topic, from its full summary.

Format: ``<health-topics><health-topic title url id language><also-called/>…<full-summary>escaped HTML``, as described
on MedlinePlus's page about its XML files. The summaries come from the National Library of Medicine.
"""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

from chatbot.errors import Problem, SettingsError
from chatbot.staff.import_text import html_to_markdown, plain
from chatbot.staff.importers import ImportReport, Row, SourceRow, shortened, slug

MAX_ALSO_CALLED = 5
ABOUT_BYTES_A_TOPIC = 15_000


def medlineplus_size(source: Path) -> int:
    """Return about how many topics the file holds.

    Raises:
        SettingsError: There is no such file.
    """
    try:
        return max(1, source.stat().st_size // ABOUT_BYTES_A_TOPIC) if source.is_file() else 0
    except OSError as error:
        raise SettingsError(f"{source} cannot be read: {error.strerror or error}") from error


def medlineplus_rows(source: Path, report: ImportReport, *, language: str = "English") -> Iterator[Row]:
    """Yield the topics of one language that have a summary, in the order of the file.

    Raises:
        SettingsError: The file is missing, or is not MedlinePlus's health-topics XML.
    """
    if not source.is_file():
        raise SettingsError(f"{source}: there is no such file; name the health-topics XML file of MedlinePlus")
    n_topics = 0
    try:
        for _, element in ElementTree.iterparse(source, events=("end",)):
            if element.tag != "health-topic":
                continue
            n_topics += 1
            row = _row_of(element, n_topics, report, language)
            element.clear()
            if row is not None:
                yield row
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        if not n_topics:
            raise SettingsError(
                f"{source} is not XML that can be read ({error}); save the original file again"
            ) from error
        message = f"breaks off after {n_topics} topics ({error}); save the original file again"
        report.problems.append(Problem(source.name, "", message))
    except OSError as error:
        raise SettingsError(f"{source} cannot be read: {error.strerror or error}") from error
    if not n_topics:
        raise SettingsError(f"{source} holds no <health-topic>; name the health-topics XML file of MedlinePlus")


def _row_of(topic: ElementTree.Element, number: int, report: ImportReport, language: str) -> Row | None:
    if (topic.get("language") or "English").casefold() != language.casefold():
        report.leave_out("in another language")
        return None
    title = plain(topic.get("title") or "")
    place = f"topic {number}" + (f", {title}" if title else "")
    summary = "".join(part for found in topic.findall("full-summary") for part in found.itertext())
    if not summary.strip():
        report.leave_out("without a summary")
        return None
    if not title:
        report.problems.append(Problem(place, "title", "is missing; the topic was left out"))
        return None
    url = (topic.get("url") or "").strip()
    also = [plain("".join(found.itertext())) for found in topic.findall("also-called")][:MAX_ALSO_CALLED]
    names = dict.fromkeys([title, *(name for name in also if name)])
    name = slug(_page_name(url)) or slug(title) or f"topic-{topic.get('id') or number}"
    return Row(
        id=f"medlineplus/{name}",
        title=shortened(title),
        questions=tuple(f"What should I know about {name}?" for name in names),
        text=html_to_markdown(summary),
        source=SourceRow(shortened(title), "MedlinePlus", url),
        place=place,
        columns=(("sources", "url"), ("text", "full-summary"), ("questions", "title")),
    )


def _page_name(url: str) -> str:
    """Return the last part of the page's address: it stays when the topic's title is reworded."""
    return Path(urlsplit(url).path).stem
