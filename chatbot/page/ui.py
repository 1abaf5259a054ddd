"""The patients' page in Gradio: it shows what the pipeline yields and decides nothing itself."""

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from chatbot.knowledge import Knowledge
from chatbot.page.cards import Setting, turn_html
from chatbot.page.frame import banner_html, help_html, start_html, top_html
from chatbot.page.pdf import sheet_pdf
from chatbot.page.sessions import Begun, Conversation, Sessions, history_of
from chatbot.page.sheet import Sheet, sheet_html, sheet_of
from chatbot.page.suggestions import Suggestions, suggestions_html
from chatbot.page.words import Words, words_for
from chatbot.pipeline import MAX_MESSAGE_CHARS, Event, Finished, Mode, Pipeline, Shown, Working
from chatbot.reply import Outcome, Reply

HERE = Path(__file__).parent
CSS = (HERE / "page.css").read_text(encoding="utf-8")
# The page's own buttons stand in HTML; conversation.js hands what was pressed to this element, and so to Python.
BRIDGE = """for (const kind of ['click', 'input', 'select']) {
  element.addEventListener('own-' + kind, (event) => trigger(kind, event.detail));
}"""
Why = Callable[[Sequence[Event]], str]  # everything one turn yielded → why it ended so, as HTML
Update = dict[Any, Any]


def build_page(
    current: Callable[[], Pipeline], *, mode: Mode, idle_s: float = 600,
    why: Why | None = None,
) -> gr.Blocks:  # fmt: skip
    """Return the page.

    Args:
        current: Returns the pipeline over the newest knowledge; asked once a turn.
        mode: How replies are made while a model is there.
        idle_s: Seconds after which a page that nobody touches is wiped; 0: never.
        why: For demonstrations: its HTML stands below each reply.
    """
    with gr.Blocks(title=current().knowledge.clinic.name, analytics_enabled=False, delete_cache=(3600, 3600)) as blocks:
        page = _Page(current, mode, idle_s, why)
        page.listen(blocks)
    blocks.queue(api_open=False, max_size=1000, default_concurrency_limit=None)
    page_blocks: gr.Blocks = blocks
    return page_blocks


class _Page:
    """The page's parts and its event handlers; made inside a ``gr.Blocks``."""

    def __init__(self, current: Callable[[], Pipeline], mode: Mode, idle_s: float, why: Why | None) -> None:
        self._current = current
        self._mode = mode
        self._idle_s = idle_s
        self._why = why
        self._sessions = Sessions()
        self._suggestions: tuple[Knowledge | None, str, Suggestions | None] = (None, "", None)
        knowledge, words = current().knowledge, self.languages[self.first_language]
        html: dict[str, Any] = {"padding": False}
        self.bridge = gr.HTML("", elem_id="bridge", js_on_load=BRIDGE, **html)
        self.top = gr.HTML(self._top(knowledge, self.first_language), elem_id="top", js_on_load=None, **html)
        self.help_bar = gr.HTML(help_html(knowledge, words), elem_id="help-bar", js_on_load=None, **html)
        self.banner = gr.HTML(self._banner(knowledge), elem_id="banner", js_on_load=None, **html)
        self.start = gr.HTML(start_html(knowledge, words), elem_id="start", js_on_load=None, **html)
        self.past = gr.HTML("", elem_id="past", js_on_load=None, **html)
        self.newest = gr.HTML("", elem_id="newest", js_on_load=None, **html)
        self.sheet = gr.HTML("", elem_id="sheet", js_on_load=None, **html)
        self.pdf = gr.HTML("", elem_id="pdf", js_on_load=None, **html)
        self.announce = gr.HTML("", elem_id="announce", elem_classes="sr-only", js_on_load=None, **html)
        with gr.Column(elem_id="composer"):
            self.suggested = gr.HTML("", elem_id="suggestions", js_on_load=None, **html)
            self.status = gr.HTML("", elem_id="status", js_on_load=None, **html)
            with gr.Row(elem_id="ask-row"):
                self.box = gr.Textbox(
                    label=words.ask_label, placeholder=words.ask_hint, lines=1, max_lines=6,
                    max_length=MAX_MESSAGE_CHARS, elem_id="question", autofocus=False,
                )  # fmt: skip
                self.send = gr.Button(words.ask, variant="primary", elem_id="send")
            with gr.Row(elem_id="page-tools"):
                self.stop = gr.Button(words.stop, elem_id="stop", interactive=False)
                self.keep = gr.Button(words.print_or_save, elem_id="keep")
                self.clear = gr.Button(words.clear, elem_id="clear")

    def listen(self, blocks: gr.Blocks) -> None:
        """Tie what is pressed to what is done."""
        turn_parts = [self.past, self.newest, self.status, self.announce, self.stop, self.box, self.banner]
        turn_parts += [self.suggested, self.sheet, self.pdf]
        labels = [self.top, self.help_bar, self.banner, self.start, self.box, self.send, self.stop, self.keep]
        labels.append(self.clear)
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        turn: dict[str, Any] = quiet | {"concurrency_limit": None, "trigger_mode": "multiple"}
        for trigger in (self.box.submit, self.send.click):
            trigger(self.ask, self.box, turn_parts, **turn)
        self.bridge.click(self.pressed, None, turn_parts, **turn)
        self.bridge.input(self.suggest, None, self.suggested, queue=False, **quiet | {"trigger_mode": "always_last"})
        self.bridge.select(
            self.choose, None, [*labels, self.past, self.newest, self.sheet, self.pdf], queue=False, **quiet
        )
        self.stop.click(self.end_turn, None, None, queue=False, **quiet)
        self.keep.click(self.open_sheet, None, self.sheet, queue=False, **quiet)
        self.clear.click(self.wipe, None, turn_parts, queue=False, **quiet)
        # Only what a patient cannot change: somebody who types fast may have asked before this comes back.
        blocks.load(self.facts, None, labels, queue=False, **quiet)
        blocks.unload(self.leave)

    @property
    def languages(self) -> Mapping[str, Words]:
        """The words of every language that the clinic offers, by code; its first one first."""
        knowledge = self._current().knowledge
        return words_for(knowledge.clinic.languages, knowledge.root, [])

    @property
    def first_language(self) -> str:
        """The language the page is in before anybody chose one."""
        return next(iter(self.languages))

    def ask(self, question: str, request: gr.Request) -> Iterator[Update]:
        """Answer what was typed."""
        yield from self._turn(self._sessions.get(str(request.session_hash)), question, None)

    def pressed(self, event: gr.EventData, request: gr.Request) -> Iterator[Update]:
        """Answer the question on a button, or show the very answer that a button names."""
        conversation = self._sessions.get(str(request.session_hash))
        match event._data:
            case {"do": "ask", "ask": str(question)}:
                yield from self._turn(conversation, question, None)
            case {"do": "choose", "answer": str(id_), "language": str(code)}:
                answer = self._current().knowledge.in_language(code).answers.get(id_)
                if answer is not None:
                    yield from self._turn(conversation, answer.title, id_, code)
            case {"do": "wipe"}:
                yield self.wipe(request)
            case _:
                return

    def suggest(self, event: gr.EventData, request: gr.Request) -> str:
        """Return the vetted questions that fit what stands in the box."""
        match event._data:
            case {"typed": str(typed)}:
                setting = self._setting(self._sessions.get(str(request.session_hash)))
                found = self._suggestions_for(setting).matching(typed[:MAX_MESSAGE_CHARS])
                return suggestions_html(found, setting.words)
            case _:
                return ""

    def choose(self, event: gr.EventData, request: gr.Request) -> Update:
        """Do what a button wants that asks no question: another language, the sheet, saying whether it helped."""
        conversation = self._sessions.get(str(request.session_hash))
        match event._data:
            case {"do": "language", "language": str(code)} if code in self.languages:
                conversation.language = code
                return self._labels(conversation) | self._retold(conversation)
            case {"do": "helpful", "helpful": bool(helped), "turn": int(turn), "word": str(word)}:
                self._note(conversation, turn, helped, word)
            case {"do": "pdf"}:
                return {self.pdf: self._pdf(conversation)}
            case {"do": "close-sheet"}:
                return {self.sheet: "", self.pdf: ""}
        return {self.past: gr.skip()}

    def open_sheet(self, request: gr.Request) -> str:
        """Return the take-away sheet of the conversation so far."""
        conversation = self._sessions.get(str(request.session_hash))
        setting = self._setting(conversation)
        return sheet_html(self._sheet(conversation, setting), setting)

    def _sheet(self, conversation: Conversation, setting: Setting) -> Sheet:
        return sheet_of(conversation.replies, setting, day=date.today())

    def _pdf(self, conversation: Conversation) -> str:
        """Return the sheet's PDF as text that the page's script saves as a file; nothing is written here."""
        setting = self._setting(conversation)
        sheet = self._sheet(conversation, setting)
        pdf = sheet_pdf(sheet, setting.knowledge, setting.words, language=setting.code)
        name = f"{sheet.day.isoformat()}.pdf"
        return f'<span data-name="{name}" data-pdf="{b64encode(pdf).decode()}"></span>'

    def end_turn(self, request: gr.Request) -> None:
        """End the turn that is being written; what is shown stays."""
        self._sessions.get(str(request.session_hash)).stop()

    def wipe(self, request: gr.Request) -> Update:
        """Forget the conversation and show an empty page."""
        language = self._sessions.get(str(request.session_hash)).language
        self._sessions.forget(str(request.session_hash))
        conversation = self._sessions.get(str(request.session_hash))
        conversation.language = language
        cleared = _status(self._setting(conversation).words.cleared)
        return {
            self.past: "", self.newest: "", self.status: "", self.announce: cleared, self.suggested: "", self.box: "",
            self.sheet: "", self.pdf: "",
            self.stop: gr.update(interactive=False),
        }  # fmt: skip

    def leave(self, request: gr.Request) -> None:
        """Free the model of a tab that is gone, and soon forget its conversation."""
        self._sessions.leave(str(request.session_hash))

    def facts(self, request: gr.Request) -> Update:
        """Return the clinic's facts as they are now: its file may have changed since the program started."""
        return self._labels(self._sessions.get(str(request.session_hash)))

    def _setting(self, conversation: Conversation) -> Setting:
        languages = self.languages
        code = conversation.language if conversation.language in languages else next(iter(languages))
        knowledge = self._current().knowledge.in_language(code)
        return Setting(
            knowledge, languages[code], code, self._in_language, asks_for_a_word=self._current().gaps is not None
        )

    def _in_language(self, code: str) -> tuple[Knowledge, Words] | None:
        words = self.languages.get(code)
        return (self._current().knowledge.in_language(code), words) if words is not None else None

    def _labels(self, conversation: Conversation) -> Update:
        """Return everything that is said in the page's language, but no reply."""
        setting = self._setting(conversation)
        words, knowledge = setting.words, setting.knowledge
        return {
            self.top: self._top(knowledge, setting.code), self.help_bar: help_html(knowledge, words),
            self.banner: self._banner(knowledge), self.start: start_html(knowledge, words),
            self.box: gr.update(label=words.ask_label, placeholder=words.ask_hint),
            self.send: gr.update(value=words.ask), self.stop: gr.update(value=words.stop),
            self.keep: gr.update(value=words.print_or_save), self.clear: gr.update(value=words.clear),
        }  # fmt: skip

    def _retold(self, conversation: Conversation) -> Update:
        """Return the conversation so far once more, with the page's words in its present language."""
        replies, setting = conversation.replies, self._setting(conversation)
        if not replies:
            return {}
        return {
            self.past: self._past(replies[:-1], setting, conversation.number),
            self.newest: turn_html(replies[-1], setting, number=conversation.number),
        }

    @staticmethod
    def _past(replies: tuple[Reply, ...], setting: Setting, number: int) -> str:
        first = number - len(replies)
        return "".join(turn_html(reply, setting, number=first + n, newest=False) for n, reply in enumerate(replies))

    def _top(self, knowledge: Knowledge, code: str) -> str:
        return top_html(knowledge, self.languages, code, idle_s=self._idle_s)

    def _banner(self, knowledge: Knowledge) -> str:
        """Return the notices staff owe the patient: demonstration text, no model."""
        pipeline = self._current()
        lines = [(knowledge.texts.demonstration_notice, True)] if knowledge.has_drafts else []
        if self._mode == "guided" and (pipeline.writer is None or pipeline.writer.name is None):
            lines.append((knowledge.texts.model_unavailable, False))
        return banner_html(lines)

    def _suggestions_for(self, setting: Setting) -> Suggestions:
        knowledge, code, kept = self._suggestions
        if kept is None or knowledge is not setting.knowledge or code != setting.code:
            kept = Suggestions(setting.knowledge.answers, setting.words)
            self._suggestions = (setting.knowledge, setting.code, kept)
        return kept

    def _note(self, conversation: Conversation, turn: int, helped: bool, word: str) -> None:
        """Hand a question whose answer did not help to the record that staff may have switched on; else to nobody."""
        replies, gaps = conversation.replies, self._current().gaps
        place = turn - conversation.number + len(replies) - 1
        if gaps is not None and not helped and 0 <= place < len(replies) and replies[place].citations:
            gaps.note(
                f"{replies[place].question} {word[:200]}".strip(), "not_helpful", [replies[place].citations[0].id]
            )

    def _turn(self, conversation: Conversation, question: str, chosen: str | None, code: str = "") -> Iterator[Update]:
        begun = conversation.begin_turn(question)
        if begun is None:
            yield {self.box: gr.skip()}
            return
        pipeline, setting = self._current(), self._setting(conversation)
        past = self._past(begun.before, setting, begun.number)
        stage, started = "", False
        events: list[Event] = []
        for event in pipeline.ask(
            question,
            history_of(begun.before),
            mode=self._mode,
            chosen=chosen,
            stopped=begun.stop.is_set,
            language=code or setting.code,
        ):
            events.append(event)
            match event:
                case Working(stage="waiting" | "writing"):
                    stage = setting.words.waiting(event.before)
                    yield {self.status: _line(stage)}
                case Shown(reply=reply):
                    if not conversation.show(begun.stop, reply):  # a newer question has taken this turn's place
                        yield {self.box: gr.skip()}  # a turn that yields nothing would empty every part of the page
                        return
                    yield self._shown(reply, setting, begun, {} if started else self._first(past), stage)
                    started = True
                case Finished(reply=reply):
                    if not conversation.show(begun.stop, reply, finished=True):
                        yield {self.box: gr.skip()}
                        return
                    why = "" if self._why is None else self._why(events)
                    yield self._finished(reply, setting, begun, why)
                case _:
                    continue

    def _first(self, past: str) -> Update:
        """Return what changes as a turn appears; ``connection.js`` has emptied the box: the next question may be in it."""
        return {self.past: past, self.suggested: ""}

    def _shown(self, reply: Reply, setting: Setting, begun: Begun, first: Update, stage: str) -> Update:
        newest = turn_html(reply, setting, number=begun.number, finished=False)
        return {self.newest: newest, self.status: _line(stage), self.stop: gr.update(interactive=True)} | first

    def _finished(self, reply: Reply, setting: Setting, begun: Begun, why: str) -> Update:
        spoken = "" if reply.outcome in (Outcome.EMERGENCY, Outcome.CRISIS) else reply.text
        return {
            self.newest: turn_html(reply, setting, number=begun.number) + why,
            self.status: "",
            self.announce: _status(spoken),
            self.stop: gr.update(interactive=False),
            self.banner: self._banner(setting.knowledge),
        }


def _line(text: str) -> str:
    return f"<p>{escape(text)}</p>" if text else ""


def _status(text: str) -> str:
    """Return what a screen reader says once."""
    return f"<p>{escape(text)}</p>"
