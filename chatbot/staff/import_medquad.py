"""Reads MedQuAD, questions and answers from nine NIH and CDC sites, in its original XML (folder or zip).

Source: Ben Abacha and Demner-Fushman, "A Question-Entailment Approach to Question Answering", BMC Bioinformatics
20:511, 2019; CC BY 4.0. Its pages were read before 2019: good for trying things out at scale, not as today's advice.
"""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from chatbot.errors import Problem, SettingsError
from chatbot.staff.import_text import plain, to_markdown
from chatbot.staff.importers import ImportReport, Row, SourceRow, shortened, slug

MAX_XML_BYTES = 20_000_000
PUBLISHERS = {
    "CancerGov": "National Cancer Institute",
    "GARD": "Genetic and Rare Diseases Information Center",
    "GHR": "Genetics Home Reference",
    "MPlusHealthTopics": "MedlinePlus",
    "NIDDK": "National Institute of Diabetes and Digestive and Kidney Diseases",
    "NINDS": "National Institute of Neurological Disorders and Stroke",
    "NIHSeniorHealth": "NIHSeniorHealth",
    "NHLBI": "National Heart, Lung, and Blood Institute",
    "CDC": "Centers for Disease Control and Prevention",
}
ABOUT_PAIRS_A_DOCUMENT = 3
_SUMMARY = re.compile(r"^\s*Summary\s*:\s*")
_DOUBLED_END = re.compile(r"\s*\?[\s?]*$")
_UNSAID = re.compile(r"^(what|who|how|is|are|do|does|can|which|where|when|why) ", re.IGNORECASE)


def medquad_size(source: Path) -> int:
    """Return about how many questions the source holds.

    Raises:
        SettingsError: There is no such folder or zip file.
    """
    return ABOUT_PAIRS_A_DOCUMENT * len(_names(source))


def medquad_rows(source: Path, report: ImportReport) -> Iterator[Row]:
    """Yield every question that has an answer, in the order of the files.

    Ids are ``<source>/<focus>-<kind of question>-<document>-<number>``: the last two never change, so the same question
    is the same file at every import.

    Raises:
        SettingsError: There is no such folder or zip file.
    """
    for name, content in _documents(source, report):
        try:
            document = parse_xml(content)
        except ValueError as error:
            report.problems.append(Problem(name, "", str(error)))
            continue
        yield from _rows_of(document, name, report)


def parse_xml(content: bytes) -> ElementTree.Element:
    """Return the root of an XML file.

    The standard parser (expat) fetches nothing from elsewhere and stops at entities that blow up.

    Raises:
        ValueError: It is not XML; the message says where.
    """
    try:
        return ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ValueError(f"is not XML that can be read ({error}); bring in the original file") from error


def _names(source: Path) -> list[str]:
    if source.is_dir():
        names = [path.relative_to(source).as_posix() for path in source.rglob("*.xml") if path.is_file()]
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            names = [name for name in archive.namelist() if name.endswith(".xml") and "__MACOSX" not in name]
    else:
        raise SettingsError(f"{source}: there is no such folder or zip file; name MedQuAD's folder or MedQuAD.zip")
    if not names:
        raise SettingsError(f"{source} holds no .xml files; name MedQuAD's folder or MedQuAD.zip")
    return sorted(names)


def _documents(source: Path, report: ImportReport) -> Iterator[tuple[str, bytes]]:
    names = _names(source)
    if source.is_dir():
        for name in names:
            try:
                content = (source / name).read_bytes()
            except OSError as error:
                report.problems.append(Problem(name, "", f"cannot be read: {error.strerror or error}"))
                continue
            yield name, content
        return
    with zipfile.ZipFile(source) as archive:
        for name in names:
            try:
                if archive.getinfo(name).file_size > MAX_XML_BYTES:
                    raise ValueError("larger than any document of MedQuAD")
                content = archive.read(name)
            except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError) as error:
                report.problems.append(Problem(name, "", f"cannot be read from the zip file: {error}"))
                continue
            yield name, content


def _rows_of(document: ElementTree.Element, name: str, report: ImportReport) -> Iterator[Row]:
    source = document.get("source") or "medquad"
    stem = Path(name).stem
    url = document.get("url") or ""
    for place, pair in enumerate(document.iter("QAPair"), 1):
        where = f"{name}, question {pair.get('pid') or place}"
        question = pair.find("Question")
        asked = plain("".join(question.itertext())) if question is not None else ""
        answer = pair.find("Answer")
        text = "".join(answer.itertext()) if answer is not None else ""
        if not text.strip():
            report.leave_out("without an answer")
            continue
        if question is None or not asked:
            report.problems.append(Problem(where, "Question", "is missing or empty; the answer was left out"))
            continue
        kind = question.get("qtype") or ""
        focus = plain(document.findtext("Focus") or "") or _UNSAID.sub("", asked).rstrip("? ")
        parts = [slug(focus, length=40), slug(kind), stem.replace("_", "-"), pair.get("pid") or str(place)]
        title = focus if kind in ("", "information") else f"{shortened_focus(focus, kind)}: {kind}"
        yield Row(
            id=f"{slug(source)}/{slug('-'.join(part for part in parts if part), length=90)}",
            title=shortened(title),
            questions=(_DOUBLED_END.sub("?", asked),),
            text=to_markdown(_SUMMARY.sub("", text)),
            source=SourceRow(shortened(focus), PUBLISHERS.get(source, source), url),
            place=where,
            columns=(("questions", "Question"), ("text", "Answer"), ("sources", "url"), ("title", "Focus")),
        )


def shortened_focus(focus: str, kind: str) -> str:
    """Return the focus, cut so that focus and kind of question fit a title."""
    room = 118 - len(kind)
    return focus if len(focus) <= room else focus[: room - 2].rsplit(" ", 1)[0] + " …"
