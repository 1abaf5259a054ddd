"""What stands around the conversation: who we are, whom to call, notices, topics to begin with."""

from collections.abc import Mapping, Sequence
from html import escape

from chatbot.knowledge import Answer, Knowledge
from chatbot.look import logo_address, look_style
from chatbot.page.words import Words, fill

MAX_EXAMPLES = 4
MAX_TOPICS = 40
MAX_QUESTIONS_A_TOPIC = 12


def top_html(knowledge: Knowledge, languages: Mapping[str, Words], code: str, *, idle_s: float) -> str:
    """Return the page's head: the clinic, what this is, the languages; and what the page's script needs to know.

    Args:
        knowledge: In the language of the page.
        languages: The words of every language the clinic offers, by code.
        code: The language of the page.
        idle_s: Seconds after which the page is wiped; 0: never.
    """
    clinic, texts, words = knowledge.clinic, knowledge.texts, languages[code]
    facts = {
        "lang": code, "dir": words.direction, "idle-s": f"{idle_s:g}", "idle-title": words.idle_title,
        "idle-text": words.idle_text, "idle-stay": words.idle_stay, "idle-clear": words.idle_clear,
        "found": words.suggestions_found, "connection-lost": words.connection_lost, "try-again": words.try_again,
        "too-busy": words.too_busy,
    }  # fmt: skip
    noted = " ".join(f'data-{name}="{escape(fact)}"' for name, fact in facts.items())
    return (
        f'<a class="skip" href="#question" data-do="skip">{escape(words.skip_to_question)}</a>'
        f"<header {noted}>{_look(knowledge)}{_languages(languages, code)}<h1>{escape(clinic.name)}</h1>"
        f'<p class="notice">{escape(texts.software_notice)}</p><p class="notice">{escape(clinic.welcome)}</p></header>'
    )


def _look(knowledge: Knowledge) -> str:
    """Return the clinic's colours and logo. The logo says nothing that the name beside it does not."""
    style, logo = look_style(knowledge.clinic.look), logo_address(knowledge.clinic.look, knowledge.root)
    return (f"<style>{style}</style>" if style else "") + (f'<img class="logo" src="{logo}" alt="">' if logo else "")


def _languages(languages: Mapping[str, Words], code: str) -> str:
    if len(languages) < 2:
        return ""
    buttons = "".join(
        f'<button type="button" data-do="language" data-language="{escape(other)}" lang="{escape(other)}" '
        f'aria-pressed="{"true" if other == code else "false"}">{escape(words.name)}</button>'
        for other, words in languages.items()
    )
    return f'<div class="languages" role="group" aria-label="{escape(languages[code].language_choice)}">{buttons}</div>'


def help_html(knowledge: Knowledge, words: Words) -> str:
    """Return the line that is always in view: whom to call."""
    clinic = knowledge.clinic
    return (
        f'<p><a class="urgent" href="{_tel(clinic.emergency_number)}">'
        f"{escape(fill(words.emergency_call, number=clinic.emergency_number))}</a> "
        f'<span class="person"><a href="{_tel(clinic.phone)}">'
        f"{escape(fill(words.talk_to_a_person, phone=clinic.phone))}</a> ({escape(clinic.hours)})</span></p>"
    )


def _tel(number: str) -> str:
    return "tel:" + "".join(sign for sign in number if sign.isdigit() or sign == "+")


def banner_html(lines: Sequence[tuple[str, bool]]) -> str:
    """Return the notices staff owe the patient; (text, whether it is a warning)."""
    return "".join(
        f'<p class="demo" role="note">{escape(text)}</p>' if warns else f'<p class="quiet">{escape(text)}</p>'
        for text, warns in lines
    )


def start_html(knowledge: Knowledge, words: Words) -> str:
    """Return what one can begin with: a few examples, and the clinic's topics with their questions."""
    examples = "".join(f"<li>{_asking(question)}</li>" for question in example_questions(knowledge))
    topics = topics_html(list(_by_topic(knowledge))[:MAX_TOPICS], knowledge)
    return (
        f'<p id="examples">{escape(words.examples)}</p><ul class="examples" aria-labelledby="examples">{examples}</ul>'
        f'<details class="topics"><summary>{escape(words.topics)}</summary>{topics}</details>'
    )


def topics_html(topics: Sequence[str], knowledge: Knowledge) -> str:
    """Return these topics, each to be opened, with the first questions of its answers as buttons."""
    answers = _by_topic(knowledge)
    return "".join(
        f"<details><summary>{escape(topic_name(topic, knowledge))}</summary><ul>"
        + "".join(f"<li>{_asking(answer.questions[0])}</li>" for answer in answers[topic][:MAX_QUESTIONS_A_TOPIC])
        + "</ul></details>"
        for topic in topics
        if topic in answers
    )


def _asking(question: str) -> str:
    return (
        f'<button type="button" class="example" data-do="ask" data-ask="{escape(question)}">{escape(question)}</button>'
    )


def example_questions(knowledge: Knowledge) -> list[str]:
    """Return the first questions of the answers that the clinic named; then of some topics, spread over the alphabet."""
    named = [knowledge.answers[id_].questions[0] for id_ in knowledge.clinic.examples if id_ in knowledge.answers]
    questions = [answers[0].questions[0] for answers in _by_topic(knowledge).values()]
    step = max(1, len(questions) // MAX_EXAMPLES)
    return list(dict.fromkeys([*named, *questions[::step]]))[:MAX_EXAMPLES]


def _by_topic(knowledge: Knowledge) -> dict[str, list[Answer]]:
    topics: dict[str, list[Answer]] = {}
    for answer in knowledge.answers.values():
        topics.setdefault(answer.topic, []).append(answer)
    return topics


def topic_name(topic: str, knowledge: Knowledge) -> str:
    """Return what patients read for a topic's folder."""
    return knowledge.texts.topics.get(topic) or topic.replace("-", " ").replace("/", ": ").capitalize()
