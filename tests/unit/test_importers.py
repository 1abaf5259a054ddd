"""Bringing answers in: cleaned drafts, every problem by row and column, nothing overwritten silently."""

import zipfile
from pathlib import Path

import openpyxl
import pytest
from staff_folder import make_folder
from typer.testing import CliRunner

from chatbot.cli import app
from chatbot.errors import SettingsError
from chatbot.knowledge import load_knowledge
from chatbot.staff.import_medlineplus import medlineplus_rows
from chatbot.staff.import_medquad import medquad_rows
from chatbot.staff.import_table import table_rows
from chatbot.staff.import_text import html_to_markdown, prose_to_markdown, to_markdown
from chatbot.staff.importers import ImportReport, answers_folder, copy_shared, shortened, slug, write_answers
from chatbot.text import MARKDOWN

pytestmark = pytest.mark.unit
HEADER = "title,questions,answer,source_title,source_publisher,source_url"
GOOD = (
    'Fever,What is a fever? | Am I hot?,"Rest.\n- drink\n- sleep",Fever,MedlinePlus,https://medlineplus.gov/fever.html'
)
DOCUMENT = """<?xml version="1.0" encoding="UTF-8"?>
<Document id="7" source="NHLBI" url="http://www.nhlbi.nih.gov/asthma"><Focus>Asthma</Focus><QAPairs>
<QAPair pid="1"><Question qid="7-1" qtype="information">What is (are) Asthma ?</Question>
<Answer>Key Points
    - Asthma is a lung disease.    - It lasts for years.


    Asthma is a lung disease.
    It narrows the airways.    It has signs:         - Wheezing    -  Coughing         See a doctor.</Answer></QAPair>
<QAPair pid="2"><Question qid="7-2" qtype="symptoms">What are the symptoms of Asthma? ?</Question>
<Answer>Wheezing is one &lt;b&gt;sign&lt;/b&gt;.</Answer></QAPair>
<QAPair pid="3"><Question qid="7-3" qtype="outlook">What is the outlook?</Question><Answer> </Answer></QAPair>
</QAPairs></Document>"""
TOPICS = """<?xml version="1.0" encoding="UTF-8"?><health-topics total="3">
<health-topic title="A1C" url="https://medlineplus.gov/a1c.html" id="1" language="English">
<also-called>HbA1C</also-called>
<full-summary>&lt;h3&gt;What is it?&lt;/h3&gt;&lt;p&gt;A &lt;a href="x"&gt;blood test&lt;/a&gt;.&lt;/p&gt;&lt;ul&gt;
&lt;li&gt;Below 5.7%&lt;/li&gt;&lt;li&gt;Above&lt;/li&gt;&lt;/ul&gt;</full-summary></health-topic>
<health-topic title="Asma" url="https://medlineplus.gov/spanish/asthma.html" id="2" language="Spanish">
<full-summary>Hola</full-summary></health-topic>
<health-topic title="Empty" url="https://medlineplus.gov/empty.html" id="3" language="English"/></health-topics>"""


def run(*args: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["import", *args])
    return done.exit_code, done.output


def test_plain_text_becomes_paragraphs_and_lists():
    text = prose_to_markdown("It has signs:         - Wheezing    -  Coughing \u200b        See a doctor : now .")
    assert text == "It has signs:\n\n- Wheezing\n- Coughing\n\nSee a doctor: now."


def test_key_points_come_back_as_headings():
    text = prose_to_markdown("Key Points\n - A thing is so.    - Another.\n\n A thing is so.\n Because of this.")
    assert text == "## Key points\n\n- A thing is so.\n- Another.\n\n## A thing is so\n\nBecause of this."


def test_a_broken_line_is_joined_and_a_short_line_is_kept():
    assert prose_to_markdown("This line is long enough to have been wrapped by a program\nand goes on.") == (
        "This line is long enough to have been wrapped by a program and goes on."
    )
    assert prose_to_markdown("Eat\nfruit") == "Eat\n\nfruit"


def test_html_becomes_what_a_reader_sees():
    html = '<h2>Care</h2><p>Rest &amp; <a href="javascript:x()">drink</a>.<br>Sleep.</p><script>x</script>'
    assert html_to_markdown(f"{html}<ol><li>One<li>Two</ol>") == "## Care\n\nRest & drink.\n\nSleep.\n\n1. One\n2. Two"


def test_an_answer_that_is_only_a_list_gets_an_opening_paragraph():
    assert to_markdown("<ul><li>Rest.</li><li>Drink.</li></ul>") == "Rest.\n\n- Drink."


@pytest.mark.parametrize("text", ["<script>alert(1)</script> hi", "[x](javascript:y) a", "# not a heading?", "> quote"])
def test_imported_text_never_becomes_a_tag_or_a_link(text: str):
    html = MARKDOWN.render(prose_to_markdown(text))
    assert "<script" not in html
    assert "href" not in html


def test_slugs_are_valid_and_short():
    assert slug("Crohn's Disease: Überblick (2nd part)") == "crohns-disease-uberblick-2nd-part"
    assert len(slug("word " * 50)) <= 60
    assert slug("!!!") == ""
    assert len(shortened("word " * 50)) <= 120


@pytest.mark.parametrize("packed", [True, False])
def test_medquad_comes_in_from_a_folder_or_a_zip(tmp_path: Path, packed: bool):
    folder = tmp_path / "MedQuAD" / "8_NHLBI_QA_XML"
    folder.mkdir(parents=True)
    (folder / "0000007.xml").write_text(DOCUMENT, encoding="utf-8")
    (folder / "0000008.xml").write_text("<Document><broken", encoding="utf-8")
    source = tmp_path / "MedQuAD"
    if packed:
        source = tmp_path / "MedQuAD.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for path in sorted(folder.glob("*.xml")):
                archive.write(path, f"MedQuAD/8_NHLBI_QA_XML/{path.name}")
    report = ImportReport()
    rows = list(medquad_rows(source, report))
    assert [row.id for row in rows] == ["nhlbi/asthma-information-0000007-1", "nhlbi/asthma-symptoms-0000007-2"]
    assert [row.title for row in rows] == ["Asthma", "Asthma: symptoms"]
    assert rows[1].questions == ("What are the symptoms of Asthma?",)
    assert rows[1].text == "Wheezing is one sign."
    assert rows[0].text.endswith("- Wheezing\n- Coughing\n\nSee a doctor.")
    assert report.left_out == {"without an answer": 1}
    assert "0000008.xml" in str(report.problems[0])


def test_entities_that_blow_up_are_a_problem_and_nothing_else(tmp_path: Path):
    lol = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    (tmp_path / "bomb.xml").write_text(
        f'<!DOCTYPE d [<!ENTITY l0 "lol">{lol}]><Document>&l9;</Document>', encoding="utf-8"
    )
    report = ImportReport()
    assert list(medquad_rows(tmp_path, report)) == []
    assert "is not XML that can be read" in str(report.problems[0])


def test_medlineplus_topics_of_one_language_come_in(tmp_path: Path):
    source = tmp_path / "mplus_topics.xml"
    source.write_text(TOPICS, encoding="utf-8")
    report = ImportReport()
    (row,) = medlineplus_rows(source, report)
    assert row.id == "medlineplus/a1c"
    assert row.questions == ("What should I know about A1C?", "What should I know about HbA1C?")
    assert row.text == "## What is it?\n\nA blood test.\n\n- Below 5.7%\n- Above"
    assert report.left_out == {"in another language": 1, "without a summary": 1}


def test_a_spreadsheet_comes_in_as_drafts_that_load(tmp_path: Path):
    source, dest = tmp_path / "our faq.csv", make_folder(tmp_path / "k")
    source.write_text(f"{HEADER}\n{GOOD}\n", encoding="utf-8")
    code, output = run("csv", str(source), str(dest))
    assert code == 0, output
    answer = load_knowledge(dest).answers["our-faq/fever"]
    assert answer.questions == ("What is a fever?", "Am I hot?")
    assert answer.text == "Rest.\n\n- drink\n- sleep"
    assert answer.review.status == "draft"
    assert answer.sources[0].checked is None


def test_bad_rows_are_named_by_row_and_column_and_the_rest_comes_in(tmp_path: Path):
    source, dest = tmp_path / "faq.csv", make_folder(tmp_path / "k")
    rows = [
        "id," + HEADER, "," + GOOD, ",No questions,,Text,T,P,https://example.org",
        ",Bad address,Q?,Text,T,P,nowhere", "Bad Id!,Bad id,Q?,Text,T,P,https://example.org",
        "", "fever,Same id,Q?,Text,T,P,https://example.org", ",Empty,Q?,,T,P,https://example.org",
        ",Braces,Q?,Call {my_phone},T,P,https://example.org", "x/ok,Good,Good?,Text,T,P,https://example.org",
    ]  # fmt: skip
    source.write_text("\n".join(rows), encoding="utf-8")
    code, output = run("csv", str(source), str(dest))
    assert code == 1
    for told in (
        "row 3: questions: is empty", "row 4: source_url: is not a web address", "row 5: id: is 'faq/Bad Id!'",
        "row 7: id: is 'faq/fever', as in row 2", "row 8: answer: is empty", "row 9: answer: uses {my_phone}",
    ):  # fmt: skip
        assert told in output
    assert {"faq/fever", "x/ok"} <= set(load_knowledge(dest).answers)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_is_read_as_any_program_saves_it(tmp_path: Path, encoding: str, delimiter: str):
    source = tmp_path / "faq.csv"
    cells = ["Café", "What?", "Rest 5 °C", "T", "P", "https://example.org"]
    source.write_text(f"{HEADER.replace(',', delimiter)}\r\n{delimiter.join(cells)}\r\n", encoding=encoding)
    (row,) = table_rows(source, ImportReport())
    assert (row.title, row.text, row.id) == ("Café", "Rest 5 °C", "faq/cafe")


def test_xlsx_is_read(tmp_path: Path):
    book = openpyxl.Workbook()
    book.active.append(HEADER.split(","))
    book.active.append(["Fever", "What? | Why?", "Rest.", "T", "P", "https://example.org"])
    book.save(tmp_path / "faq.xlsx")
    (row,) = table_rows(tmp_path / "faq.xlsx", ImportReport())
    assert row.questions == ("What?", "Why?")


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "is empty"), (b"title,answer\n", "lacks the columns questions"), (b"PK\x03\x04xx", "is not a CSV file")],
)
def test_a_file_that_is_no_table_is_one_clear_line(tmp_path: Path, content: bytes, told: str):
    source = tmp_path / "faq.csv"
    source.write_bytes(content)
    with pytest.raises(SettingsError, match=told):
        table_rows(source, ImportReport())


def test_an_existing_answer_is_kept_unless_an_update_is_asked_for(tmp_path: Path):
    source, dest = tmp_path / "faq.csv", make_folder(tmp_path / "k")
    source.write_text(f"{HEADER}\n{GOOD}\n", encoding="utf-8")
    run("csv", str(source), str(dest))
    path = dest / "answers" / "faq" / "fever.md"
    review = "status: reviewed\n  reviewer: Dr. Doe\n  reviewed: 2026-01-01\n  due: 2027-01-01"
    text = path.read_text(encoding="utf-8")
    text = text[: text.index("status: draft")] + review + "\naudience: adults\n---" + text.rpartition("---")[2]
    path.write_text(text, encoding="utf-8")
    assert run("csv", str(source), str(dest)) == (0, run("csv", str(source), str(dest))[1])
    assert path.read_text(encoding="utf-8") == text
    source.write_text(f"{HEADER}\n{GOOD.replace('Rest.', 'Sleep.')}\n", encoding="utf-8")
    code, output = run("csv", str(source), str(dest))
    assert code == 1
    assert "faq/fever: text +1 -1 lines; Dr. Doe's review does not hold for it any more" in output
    assert path.read_text(encoding="utf-8") == text
    code, output = run("csv", str(source), str(dest), "--update")
    assert code == 0
    assert "1 file(s) updated" in output
    answer = load_knowledge(dest).answers["faq/fever"]
    assert answer.text.startswith("Sleep.")
    assert (answer.review.status, answer.audience) == ("draft", "adults")


def test_an_update_never_brings_a_retired_answer_back(tmp_path: Path):
    source, dest = tmp_path / "faq.csv", make_folder(tmp_path / "k")
    source.write_text(f"{HEADER}\n{GOOD}\n", encoding="utf-8")
    run("csv", str(source), str(dest))
    path = dest / "answers" / "faq" / "fever.md"
    path.write_text(
        path.read_text(encoding="utf-8").replace("draft", "retired").replace("Rest.", "Old."), encoding="utf-8"
    )
    assert run("csv", str(source), str(dest), "--update")[0] == 0
    assert "faq/fever" not in load_knowledge(dest).answers


def test_a_new_folder_gets_what_serving_needs(tmp_path: Path):
    model, dest = make_folder(tmp_path / "model", safety=True), tmp_path / "new"
    source = tmp_path / "faq.csv"
    source.write_text(f"{HEADER}\n{GOOD}\n", encoding="utf-8")
    code, output = run("csv", str(source), str(dest), "--knowledge", str(model))
    assert code == 0, output
    assert "Copied into the new folder: clinic.yaml, texts.yaml, safety" in output
    assert list(load_knowledge(dest).answers) == ["faq/fever"]


def test_dest_is_a_knowledge_folder_or_its_answers_folder_and_nothing_else(tmp_path: Path):
    root = make_folder(tmp_path / "k")
    assert answers_folder(root) == answers_folder(root / "answers") == root / "answers"
    assert answers_folder(tmp_path / "new") == tmp_path / "new" / "answers"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"x")
    with pytest.raises(SettingsError, match="is no knowledge folder"):
        answers_folder(tmp_path / "photos")


def test_what_is_there_is_never_touched_when_shared_files_are_copied(tmp_path: Path):
    model, root = make_folder(tmp_path / "model"), tmp_path / "k"
    (root / "answers").mkdir(parents=True)
    (root / "clinic.yaml").write_text("mine", encoding="utf-8")
    report = ImportReport()
    copy_shared(root / "answers", model, report)
    assert report.copied == ["texts.yaml"]
    assert (root / "clinic.yaml").read_text(encoding="utf-8") == "mine"


def test_progress_is_told_in_steps(tmp_path: Path):
    source = tmp_path / "faq.csv"
    rows = [GOOD.replace("Fever,", f"Fever {n},") for n in range(120)]
    source.write_text("\n".join([HEADER, *rows]), encoding="utf-8")
    told: list[tuple[int, int]] = []
    report = ImportReport()
    found = table_rows(source, report)
    answers = tmp_path / "k" / "answers"
    write_answers(found, answers, report, update=False, progress=lambda *at: told.append(at), total=len(found))
    assert told == [(50, 120), (100, 120), (120, 120)]
    assert report.created == 120
