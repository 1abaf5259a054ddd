"""The patients' page in Gradio: it shows what the pipeline yields and decides nothing itself."""

from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from chatbot.knowledge import Knowledge
from chatbot.page.cards import turn_html
from chatbot.page.sessions import Conversation, Sessions, history_of
from chatbot.pipeline import MAX_MESSAGE_CHARS, Finished, Mode, Pipeline, Shown, Working
from chatbot.reply import Outcome, Reply

MAX_CHOICES = 3
MAX_EXAMPLES = 4
CSS = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
# A new turn is brought to the top of the window once, as it appears.
SHOW_NEWEST = """let shown = '';
watch('value', () => {
  const turn = element.querySelector('.turn');
  if (turn && turn.id !== shown) { turn.scrollIntoView(); }
  shown = turn ? turn.id : '';
});"""


def build_page(current: Callable[[], Pipeline], *, mode: Mode) -> gr.Blocks:
    """Return the page.

    Args:
        current: Returns the pipeline over the newest knowledge; asked once a turn.
        mode: How replies are made while a model is there.
    """
    page = _Page(current, mode, Sessions())
    knowledge = current().knowledge
    with gr.Blocks(title=knowledge.clinic.name, analytics_enabled=False, delete_cache=(3600, 3600)) as blocks:
        top = gr.HTML(_top_html(knowledge), elem_id="top", padding=False)
        help_bar = gr.HTML(_help_html(knowledge), elem_id="help-bar", padding=False)
        banner = gr.HTML(page.banner_html(), elem_id="banner", padding=False)
        past = gr.HTML("", elem_id="past", padding=False)
        newest = gr.HTML("", elem_id="newest", padding=False, js_on_load=SHOW_NEWEST)
        choices = [gr.Button("", visible=False, elem_classes="choice") for _ in range(MAX_CHOICES)]
        status = gr.HTML("", elem_id="status", padding=False)
        announce = gr.HTML("", elem_classes="sr-only", padding=False)
        examples_label = gr.HTML("<p>For example:</p>", padding=False)
        examples = [gr.Button(text, elem_classes="example", size="sm") for text in example_questions(knowledge)]
        box = gr.Textbox(
            label="Your question",
            placeholder="Type your question here",
            lines=1,
            max_lines=6,
            max_length=MAX_MESSAGE_CHARS,
            elem_id="question",
            autofocus=False,
        )
        with gr.Row():
            send = gr.Button("Ask", variant="primary", elem_id="send")
            stop = gr.Button("Stop", elem_id="stop", interactive=False)
            clear = gr.Button("Clear and finish", elem_id="clear")
        outputs = [past, newest, status, announce, stop, box, banner, examples_label, *examples, *choices]
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        turn: dict[str, Any] = quiet | {"concurrency_limit": None, "trigger_mode": "multiple"}
        for trigger in (box.submit, send.click):
            trigger(page.ask, box, outputs, **turn)
        for button in examples:
            button.click(page.ask, button, outputs, **turn)
        for place, button in enumerate(choices):
            button.click(page.chooser(place), None, outputs, **turn)
        stop.click(page.stop, None, None, queue=False, **quiet)
        clear.click(page.clear, None, outputs, queue=False, **quiet)
        # Only what a patient cannot change: somebody who types fast may have asked before this comes back.
        blocks.load(page.facts, None, [top, help_bar, banner], queue=False, **quiet)
        blocks.unload(page.leave)
    blocks.queue(api_open=False, max_size=1000, default_concurrency_limit=None)
    page_blocks: gr.Blocks = blocks
    return page_blocks


def example_questions(knowledge: Knowledge) -> list[str]:
    """Return the first question of the first answer of some topics, spread over the alphabet."""
    firsts: dict[str, str] = {}
    for answer in knowledge.answers.values():
        firsts.setdefault(answer.topic, answer.questions[0])
    questions = list(firsts.values())
    step = max(1, len(questions) // MAX_EXAMPLES)
    return questions[::step][:MAX_EXAMPLES]


def progress_line(before: int) -> str:
    """Return what the patient reads while the short reply is being made, or waits for so many others."""
    if before == 0:
        return "Writing a short reply …"
    people = "1 person is" if before == 1 else f"{before} people are"
    return f"A short reply follows: {people} before you. The full answer is above."


class _Page:
    """The page's event handlers."""

    def __init__(self, current: Callable[[], Pipeline], mode: Mode, sessions: Sessions) -> None:
        self._current = current
        self._mode = mode
        self._sessions = sessions
        self._examples = len(example_questions(current().knowledge))

    def ask(self, question: str, request: gr.Request) -> Iterator[list[Any]]:
        """Answer what was typed or what stands on an example button."""
        conversation = self._sessions.get(str(request.session_hash))
        yield from self._turn(conversation, question, None)

    def chooser(self, place: int) -> Callable[[gr.Request], Iterator[list[Any]]]:
        """Return the handler of one choice button: it shows that very answer."""

        def choose(request: gr.Request) -> Iterator[list[Any]]:
            conversation = self._sessions.get(str(request.session_hash))
            if place < len(conversation.choices):
                chosen = conversation.choices[place]
                answer = self._current().knowledge.answers.get(chosen)
                yield from self._turn(conversation, answer.title if answer else "", chosen)

        return choose

    def stop(self, request: gr.Request) -> None:
        """End the turn that is being written; what is shown stays."""
        self._sessions.get(str(request.session_hash)).stop()

    def clear(self, request: gr.Request) -> list[Any]:
        """Forget the conversation and show an empty page."""
        self._sessions.forget(str(request.session_hash))
        examples = [gr.update(visible=True)] * (self._examples + 1)
        choices = [gr.update(visible=False)] * MAX_CHOICES
        return ["", "", "", "", gr.update(interactive=False), "", self.banner_html(), *examples, *choices]

    def leave(self, request: gr.Request) -> None:
        """Free the model of a tab that is gone, and soon forget its conversation."""
        self._sessions.leave(str(request.session_hash))

    def facts(self) -> list[str]:
        """Return the clinic's facts as they are now: its file may have changed since the program started."""
        knowledge = self._current().knowledge
        return [_top_html(knowledge), _help_html(knowledge), self.banner_html()]

    def banner_html(self) -> str:
        """Return the notices staff owe the patient: demonstration text, no model."""
        pipeline = self._current()
        texts = pipeline.knowledge.texts
        lines = [texts.demonstration_notice] if pipeline.knowledge.has_drafts else []
        html = "".join(f'<p class="demo" role="note">{escape(line)}</p>' for line in lines)
        if self._mode == "guided" and (pipeline.writer is None or pipeline.writer.name is None):
            html += f'<p class="quiet">{escape(texts.model_unavailable)}</p>'
        return html

    def _turn(self, conversation: Conversation, question: str, chosen: str | None) -> Iterator[list[Any]]:
        pipeline = self._current()
        turn, before = conversation.begin_turn()
        past = "".join(turn_html(reply, pipeline.knowledge, number=n) for n, reply in enumerate(before))
        stage, started = "", False
        for event in pipeline.ask(question, history_of(before), mode=self._mode, chosen=chosen, stopped=turn.is_set):
            match event:
                case Working(stage="waiting" | "writing"):
                    stage = progress_line(event.before)
                case Shown(reply=reply):
                    if not conversation.show(turn, reply):
                        return  # a newer question has taken this turn's place on the page
                    newest = turn_html(reply, pipeline.knowledge, number=len(before))
                    yield self._frame(past, newest, stage, clear_box=not started)
                    started = True
                    continue
                case Finished(reply=reply):
                    if conversation.show(turn, reply, finished=True):
                        yield self._finished(conversation, pipeline.knowledge, past, reply, len(before))
                    return
                case _:
                    continue
            yield self._frame(status=stage)

    def _frame(
        self, past: str | None = None, newest: str | None = None, status: str = "", *, clear_box: bool = False
    ) -> list[Any]:
        kept = [gr.skip() if part is None else part for part in (past, newest)]
        box = "" if clear_box else gr.skip()  # once only: the patient may be typing the next question
        shown = [gr.skip(), gr.update(visible=False)]
        examples: list[Any] = [gr.update(visible=False)] * self._examples
        choices: list[Any] = [gr.update(visible=False)] * MAX_CHOICES
        return [
            *kept, f"<p>{escape(status)}</p>", gr.skip(), gr.update(interactive=True),
            box, *shown, *examples, *choices,
        ]  # fmt: skip

    def _finished(
        self, conversation: Conversation, knowledge: Knowledge, past: str, reply: Reply, number: int
    ) -> list[Any]:
        conversation.choices = choices_of(reply, knowledge)
        frame = self._frame(past, turn_html(reply, knowledge, number=number))
        spoken = "" if reply.outcome in (Outcome.EMERGENCY, Outcome.CRISIS) else reply.text
        frame[3] = f'<p role="status">{escape(spoken)}</p>'
        frame[4] = gr.update(interactive=False)
        frame[6] = self.banner_html()
        labels = [knowledge.answers[id_].title for id_ in conversation.choices]
        buttons = [gr.update(value=label, visible=True) for label in labels]
        frame[-MAX_CHOICES:] = buttons + [gr.update(visible=False)] * (MAX_CHOICES - len(buttons))
        return frame


def choices_of(reply: Reply, knowledge: Knowledge) -> tuple[str, ...]:
    """Return the answers to offer as buttons: the candidates of "did you mean", or what the answer names."""
    match reply.outcome:
        case Outcome.DID_YOU_MEAN:
            wanted = [citation.id for citation in reply.citations]
        case Outcome.ANSWERED:
            wanted = list(knowledge.answers[reply.citations[0].id].see_also)
        case _:
            wanted = []
    return tuple(id_ for id_ in wanted if id_ in knowledge.answers)[:MAX_CHOICES]


def _top_html(knowledge: Knowledge) -> str:
    clinic, texts = knowledge.clinic, knowledge.texts
    return (
        '<header data-connection-lost="The connection was lost. What you typed is still here." data-try-again="Try again">'
        f'<h1>{escape(clinic.name)}</h1><p class="notice">{escape(texts.software_notice)}</p>'
        f'<p class="notice">{escape(clinic.welcome)}</p></header>'
    )


def _help_html(knowledge: Knowledge) -> str:
    clinic = knowledge.clinic
    return (
        f"<p><strong>Emergency: call {escape(clinic.emergency_number)}.</strong> "
        f"Talk to a person: {escape(clinic.phone)} ({escape(clinic.hours)})</p>"
    )
