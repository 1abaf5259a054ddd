"""The staff page: what it shows, what it writes, and whom it lets in."""

import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import date
from pathlib import Path

import httpx
import pytest
from staff_folder import COUGH_FILE, FEVER_FILE, WordVectors, make_folder, write_answer
from starlette.testclient import TestClient

from chatbot.bootstrap import Service, open_service, recalibrate, reload
from chatbot.knowledge import load_knowledge
from chatbot.page.staff import build_staff_app, field_label, gaps_csv
from chatbot.page.staff_guard import Access, is_loopback
from chatbot.page.staff_server import staff_page
from chatbot.settings import Settings
from chatbot.staff.gap_groups import grouped
from chatbot.staff.gaps import FILE, Gap, GapRecord, open_gaps
from chatbot.staff.live import LiveService

pytestmark = pytest.mark.unit
TODAY = date.today()
HERE = "http://127.0.0.1:7861"
FORM = {
    "title": "Dogs at the clinic",
    "questions": "Can I bring my dog?\nAre dogs allowed?",
    "text": "Please leave your dog at home. Guide dogs are welcome.\n\nCall {clinic_phone} with questions.",
    "topic": "visits",
    "audience": "everyone",
    "source_title": "House rules",
    "source_publisher": "The clinic",
    "source_url": "https://example.org/rules",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("staff")


@pytest.fixture(scope="module")
def open_live(folder: Path) -> Iterator[tuple[LiveService[Service], GapRecord]]:
    root = make_folder(folder / "knowledge", safety=True)
    record = open_gaps("", folder / "gaps", keep_days=90)
    settings = Settings(knowledge=root, state=folder / "state", mode="verbatim")
    service = open_service(settings, with_model=False, embedder=WordVectors(), gaps=record)
    live = LiveService(service, reload, recalibrate, say=lambda line: None)
    live.start()
    yield live, record
    live.stop()
    record.close()


@pytest.fixture
def root(folder: Path) -> Path:
    return folder / "knowledge"


@pytest.fixture
def record(open_live: tuple[LiveService[Service], GapRecord]) -> GapRecord:
    open_live[1].forget(gap.question for gap in open_live[1].gaps())
    return open_live[1]


@pytest.fixture
def live(open_live: tuple[LiveService[Service], GapRecord], root: Path) -> LiveService[Service]:
    """Return the running service over the same two answers as at its start."""
    shutil.rmtree(root / "answers")
    write_answer(root, "fever/adults", FEVER_FILE)
    write_answer(root, "colds/cough", COUGH_FILE)
    until(lambda: set(open_live[0].knowledge.answers) == {"fever/adults", "colds/cough"})
    until(lambda: "draft" in open_live[0].knowledge.answers["fever/adults"].review.status)
    return open_live[0]


@pytest.fixture
def staff(live: LiveService[Service], record: GapRecord) -> TestClient:
    client = TestClient(build_staff_app(live, record, Access()), base_url=HERE)
    client.headers["origin"] = HERE
    return client


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def answer_files(root: Path) -> set[str]:
    return {path.relative_to(root / "answers").as_posix() for path in (root / "answers").rglob("*") if path.is_file()}


def test_the_first_page_tells_what_to_mend_by_file_and_field(staff: TestClient, live: LiveService[Service], root: Path):
    write_answer(root, "skin/rash", FEVER_FILE.replace("audience: adults", "audience: cats"))
    until(lambda: live.problems)
    shown = staff.get("/").text
    assert "answers/skin/rash.md" in shown
    assert "audience" in shown
    assert "must be one of" in shown


def test_reviews_that_end_are_told_on_the_first_page(staff: TestClient, live: LiveService[Service], root: Path):
    reviewed = "status: reviewed, reviewer: Dr. Doe, reviewed: 2020-01-02, due: 2021-01-02"
    write_answer(root, "fever/adults", FEVER_FILE.replace(
        "status: draft, reviewer: null, reviewed: null, due: null", reviewed))  # fmt: skip
    until(lambda: any("being reviewed" in str(problem) for problem in live.problems))
    shown = staff.get("/").text
    assert "overdue" in shown
    assert "Dr. Doe" in shown
    assert "2021-01-02" in shown


def test_what_patients_ask_in_vain_is_listed_with_counts_and_can_be_taken_off(
    staff: TestClient, live: LiveService[Service], record: GapRecord
):
    for question in ("zebra zebra stripes?", "zebra stripes?", "my name is Anna, quixotic violins?"):
        live.pipeline.reply(question, mode="verbatim")
    record.settle()
    shown = staff.get("/asked").text
    assert "2 wordings" in shown
    assert "my name is [name], quixotic violins?" in shown
    assert "Anna" not in shown
    staff.post("/asked/forget", data={"question": "zebra stripes?"})
    assert "zebra" not in staff.get("/asked").text


def test_trying_a_question_leaves_no_trace(staff: TestClient, record: GapRecord):
    shown = staff.post("/try", data={"question": "quixotic violins?"}).text
    record.settle()
    assert "Write an answer to this" in shown
    assert "Why this answer?" in shown
    assert record.gaps() == []


def test_a_new_answer_is_prefilled_looked_at_published_and_found(
    staff: TestClient, live: LiveService[Service], record: GapRecord, root: Path
):
    record.note("can i bring my dog", "no_answer", ["fever/adults"])
    record.settle()
    prefilled = staff.post("/answer", data={"from": "can i bring my dog"}).text
    assert "can i bring my dog</textarea>" in prefilled
    assert 'value="fever"' in prefilled
    looked = staff.post("/answer", data={**FORM, "do": "look", "gap": "can i bring my dog"})
    assert "Please leave your dog at home." in looked.text
    assert "Call 202-555-0100 with questions." in looked.text
    assert answer_files(root) == {"fever/adults.md", "colds/cough.md"}, "looking must write nothing"
    done = staff.post("/answer", data={**FORM, "do": "publish", "gap": "can i bring my dog"})
    assert "Patients can find it now" in done.text
    assert live.pipeline.reply("Are dogs allowed?", mode="verbatim").citations[0].id == "visits/dogs-at-the-clinic"
    (written,) = [answer for answer in load_knowledge(root).answers.values() if answer.topic == "visits"]
    assert written.review.status == "draft"
    assert written.questions == ("Can I bring my dog?", "Are dogs allowed?")
    assert "{clinic_phone}" in (root / "answers/visits/dogs-at-the-clinic.md").read_text(encoding="utf-8")
    assert record.gaps() == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"source_url": "somewhere"}, "is not a web address"),
        ({"questions": ""}, "is empty"),
        ({"title": ""}, "has no letters"),
        ({"title": "日本語"}, "has no letters"),
        ({"topic": "../.."}, "choose the folder"),
        ({"text": ""}, "has no opening paragraph"),
        ({"text": "Call 202-555-0100 now."}, "write {clinic_phone} instead"),
        ({"text": "Click <script>alert(1)</script> here."}, "HTML"),
        ({"text": "Call {our_number}."}, "which clinic.yaml does not define"),
        ({"text": "x" * 250_000}, "split it"),
        ({"audience": "cats"}, "must be one of"),
        ({"topic": "fever", "title": "adults"}, "is there already"),
        ({"questions": "What temperature is a fever?"}, "stands in"),
    ],
)
def test_what_is_wrong_with_a_form_is_told_and_nothing_is_written(
    staff: TestClient, root: Path, change: dict[str, str], told: str
):
    before = answer_files(root)
    for do in ("look", "publish"):
        answer = staff.post("/answer", data={**FORM, **change, "do": do})
        assert told in answer.text
    assert answer_files(root) == before


def test_a_hard_text_can_be_published_after_a_hint(staff: TestClient):
    hard = "Notwithstanding institutional considerations, veterinary companionship necessitates " * 3 + "authorisation."
    looked = staff.post("/answer", data={**FORM, "text": hard, "do": "look"})
    assert "reading grade" in looked.text
    assert "Publish as a draft" in looked.text


def test_what_is_typed_never_becomes_html(staff: TestClient, record: GapRecord):
    record.note("<b onclick=x>dogs</b>", "no_answer", ["<i>"])
    record.settle()
    evil = {**FORM, "title": "<img src=x onerror=y>", "questions": "<b onclick=x>?", "source_title": "</textarea><b>"}
    looked = staff.post("/answer", data={**evil, "do": "look"})
    tried = staff.post("/try", data={"question": "<b onclick=x>"})
    for page in (staff.get("/asked"), looked, tried):
        assert "<b " not in page.text
        assert "<img" not in page.text
        assert "<i>" not in page.text


def test_without_the_record_the_page_says_how_to_switch_it_on(live: LiveService[Service]):
    shown = TestClient(build_staff_app(live, None, Access()), base_url=HERE).get("/asked").text
    assert "record: true" in shown
    assert "is not recognised" in shown


def test_a_record_that_fails_is_told_and_the_rest_of_the_page_works(live: LiveService[Service], tmp_path: Path):
    broken = open_gaps("", tmp_path, keep_days=90)
    broken.close()
    (tmp_path / FILE).write_bytes(b"no database at all" * 100)
    client = TestClient(build_staff_app(live, broken, Access()), base_url=HERE)
    assert "does not answer" in client.get("/asked").text
    assert client.get("/asked.csv").status_code == 503
    assert client.get("/").status_code == 200


def test_the_table_holds_every_wording_and_no_formula():
    gaps = [Gap("=1+1 dogs", 2, TODAY, TODAY, 2, ("a/b",)), Gap("dogs, please", 1, TODAY, TODAY, 0, ())]
    rows = gaps_csv(grouped(gaps, WordVectors())).splitlines()
    assert rows[0].startswith("question,wording,times")
    assert any(row.startswith("'=1+1 dogs,'=1+1 dogs,2") for row in rows)
    assert any('"dogs, please",1' in row for row in rows)


@pytest.mark.parametrize("field", ["title", "questions.0", "sources.0.url", "text", "audience", "topic", "reading"])
def test_every_field_has_the_name_it_has_in_the_form(field: str):
    assert field_label(field)


def test_every_page_forbids_scripts_frames_and_keeping(staff: TestClient):
    for path in ("/", "/asked", "/answer", "/try", "/nothing-here"):
        headers = staff.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "same-origin", "with no-referrer a browser sends its forms with no origin"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": ""}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"host": "evil.example"}, 421),
    ],
)
def test_another_web_site_cannot_act_in_the_name_of_staff(
    staff: TestClient, root: Path, headers: dict[str, str], status: int
):
    before = answer_files(root)
    assert staff.post("/answer", data={**FORM, "do": "publish"}, headers=headers).status_code == status
    assert answer_files(root) == before


@pytest.fixture
def guarded(live: LiveService[Service]) -> Callable[[], TestClient]:
    app = build_staff_app(live, None, Access(key="right"))
    return lambda: TestClient(app, base_url="http://192.0.2.7:7861", follow_redirects=False)


def test_from_elsewhere_only_the_key_opens_the_page(guarded: Callable[[], TestClient]):
    for path in ("/", "/asked.csv", "/staff.css", "/?key=wrong", "/?key="):
        assert guarded().get(path).status_code == 401
    assert guarded().post("/answer", data=FORM, headers={"origin": "http://192.0.2.7:7861"}).status_code == 401
    client = guarded()
    inside = client.get("/asked?key=right")
    assert (inside.status_code, inside.headers["location"]) == (303, "/asked")
    assert "HttpOnly" in inside.headers["set-cookie"]
    assert "SameSite=strict" in inside.headers["set-cookie"]
    assert client.get("/asked").status_code == 200


def test_which_addresses_only_this_machine_can_reach():
    assert [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "127.9.9.9")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "192.168.0.5", "clinic.example")] == [False] * 4


def served_beside(live: LiveService[Service], told: list[str], **changes: object) -> AbstractContextManager[None]:
    class Elsewhere:
        settings = live.settings.model_copy(update=changes)

        def __getattr__(self, name: str) -> object:
            return getattr(live, name)

    return staff_page(Elsewhere(), None, say=told.append)  # type: ignore[arg-type]


def test_the_page_is_served_on_its_own_port_while_patients_are(live: LiveService[Service]):
    told: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with served_beside(live, told, staff_port=port):
        until(lambda: is_up(port))
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200
    assert told == [f"The staff page is at http://127.0.0.1:{port}"]
    assert not is_up(port)


def test_from_other_machines_the_key_that_was_told_is_asked_for(live: LiveService[Service]):
    told: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with served_beside(live, told, staff_port=port, staff_host="0.0.0.0"):
        until(lambda: is_up(port))
        key = re.search(r"key=(\S+)", told[0])
        assert key
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 401
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", follow_redirects=True) as browser:
            inside = browser.get(f"/?key={key[1]}")
            assert (inside.status_code, "key=" in str(inside.url)) == (200, False)


def test_a_taken_port_is_told_and_patients_are_served_all_the_same(live: LiveService[Service]):
    told: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with served_beside(live, told, staff_port=port):
            assert live.pipeline.reply("What temperature is a fever?", mode="verbatim").text
    assert f"cannot listen on 127.0.0.1:{port}" in told[0]
    assert "staff_port in the settings" in told[0]


def is_up(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
