"""Why a turn ended as it did: plain values for programs, HTML for staff and demonstrations."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from rapidfuzz import fuzz, process

from chatbot.knowledge import Knowledge
from chatbot.pipeline import Dropped, Event, Finished
from chatbot.reply import Sentence
from chatbot.retrieval.retriever import Decision
from chatbot.safety.gate import bounded, here, meant
from chatbot.safety.match import Reading
from chatbot.safety.rules import ReadyRule, RuleBook

# What every sentence of the model passes before it is shown, in the order of ``grounding/checker.py``.
CHECKS = (
    "cites a passage it was given", "one whole sentence", "no false comfort", "amounts and units", "words and names",
    "not, must and may", "who it is about", "order and conditions", "meaning",
)  # fmt: skip
MAX_NEAR = 8
SHOWN_HITS = 5


def explain(
    events: Sequence[Event], *, knowledge: Knowledge | None = None, rules: RuleBook | None = None
) -> dict[str, Any]:
    """Return what the gate saw, which entries matched and how strongly, the decision, and each sentence's fate.

    Args:
        events: Everything one turn yielded.
        knowledge: With it, each shown sentence of the model stands beside the vetted sentence nearest to it.
        rules: With them, the safety rules whose words were all there and that did not fire are told as well.
    """
    finished = next(event for event in events if isinstance(event, Finished))
    verdict, decision, reply = finished.verdict, finished.decision, finished.reply
    generated = [sentence for sentence in reply.sentences if sentence.origin == "generated"]
    dropped = [event for event in events if isinstance(event, Dropped)]
    return {
        "outcome": reply.outcome.value,
        "safety": None
        if verdict is None
        else {"rule": verdict.rule_id, "matched": list(verdict.matched), "error": verdict.error},
        "safety_near": [] if rules is None else list(near_rules(rules, reply.question, fired=reply.red_flag)),
        "decision": None if decision is None else _decision(decision),
        "generated": {
            "model": reply.model,
            "checks": list(CHECKS),
            "shown": [_shown(sentence, knowledge) for sentence in generated],
            "dropped": [{"text": event.sentence, "reasons": list(event.reasons)} for event in dropped],
        },
        "timings_ms": {name: round(ms, 1) for name, ms in asdict(reply.timings_ms).items()},
    }


def _decision(decision: Decision) -> dict[str, Any]:
    return {
        "kind": decision.kind,
        "candidates": list(decision.candidates),
        "margin": round(decision.margin, 4),
        "certainty": round(decision.certainty, 4),
        "threshold": round(decision.threshold, 4),
        "suggest_threshold": round(decision.suggest_threshold, 4),
        "searched": list(decision.searched),
        "earlier_question": decision.earlier_question,
        "hits": [asdict(hit) | {"parts": dict(hit.parts)} for hit in decision.hits],
        "why": _why(decision),
    }


def _why(decision: Decision) -> str:
    if not decision.hits:
        return "No answer shares a word or a meaning with this question."
    sure, best = f"{decision.certainty:.2f}", decision.hits[0].answer_id
    match decision.kind:
        case "answered":
            return f"{best} is the right answer with a certainty of {sure}; {decision.threshold:.2f} is enough."
        case "did_you_mean" if decision.certainty >= decision.threshold:
            return f"{best} was certain enough ({sure}), but what was meant is partly a guess from an earlier message."
        case "did_you_mean":
            limits = (
                f"{decision.suggest_threshold:.2f} is enough to offer answers, {decision.threshold:.2f} to give one"
            )
            return f"The certainty of {best} is {sure}: {limits}."
        case _:
            return f"The certainty of {best} is {sure}: less than the {decision.suggest_threshold:.2f} for an offer."


def _shown(sentence: Sentence, knowledge: Knowledge | None) -> dict[str, Any]:
    row: dict[str, Any] = {"text": sentence.text, "citation": sentence.citation}
    answer = knowledge.answers.get(sentence.citation or "") if knowledge is not None else None
    if answer is not None and answer.sentences:
        nearest, likeness, _ = process.extractOne(sentence.text, answer.sentences, scorer=fuzz.token_set_ratio)
        row |= {"nearest_vetted": nearest, "likeness": round(likeness / 100, 2)}
    return row


def near_rules(rules: RuleBook, message: str, *, fired: str | None) -> Iterator[dict[str, str]]:
    """Yield the safety rules whose words all stand in the message and that did not fire, and why not."""
    if rules.reader is None:
        return
    reading, told = rules.reader.read(bounded(message)), 0
    for rule in rules.rules:
        parts = [[hit for name in part for hit in reading.hits.get(name, ())] for part in rule.parts]
        if rule.id == fired or not all(parts) or told == MAX_NEAR:
            continue
        told += 1
        words = ", ".join(dict.fromkeys(reading.quote(hits[0]) for hits in parts))
        doubts = {reading.doubt(hit) or "" for hits in parts for hit in hits} - {""}
        unmeant = not all(meant(reading, part, rule.rule.even_if) for part in rule.parts)
        yield {
            "rule": rule.id,
            "words": words,
            "why": f"said as {', '.join(sorted(doubts))}" if unmeant else _not(rule, reading),
        }


def _not(rule: ReadyRule, reading: Reading) -> str:
    against = [reading.quote(hit) for part in rule.unless for hit in here(reading, part)]
    if against:
        return f"taken back by {', '.join(dict.fromkeys(against))}"
    if not all(here(reading, part) for part in rule.who):
        return "the person it asks for is not named"
    return f"not within {rule.rule.within} words of each other, or another rule came first"


def explanation_html(explained: dict[str, Any]) -> str:
    """Return "Why this answer?" as an element that opens on a click; every text is escaped."""
    parts = [_safety_html(explained)]
    if explained["decision"] is not None:
        parts.append(_decision_html(explained["decision"]))
    if explained["generated"]["shown"] or explained["generated"]["dropped"]:
        parts.append(_generated_html(explained["generated"]))
    times = ", ".join(f"{name.replace('_', ' ')} {ms:g} ms" for name, ms in explained["timings_ms"].items() if ms)
    return f'<details class="why"><summary>Why this answer?</summary>{"".join(parts)}<p>{escape(times)}</p></details>'


def _safety_html(explained: dict[str, Any]) -> str:
    fired = explained["safety"]
    lead = "No safety rule fired."
    if fired is not None:
        lead = f"The safety rule {fired['rule']} fired on: {', '.join(fired['matched']) or fired['error']}."
    near = [f"{row['rule']}: {row['words']} ({row['why']})" for row in explained["safety_near"]]
    return f"<h3>Safety</h3><p>{escape(lead)}</p>{_list('Words of other rules, not fired:', near)}"


def _decision_html(decision: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{hit['rank']}</td><td>{escape(hit['answer_id'])}</td><td>{escape(hit['entry'][:120])}</td>"
        f"<td>{hit['score']:.2f}</td><td>{hit['words']:.2f}</td><td>{hit['meaning']:.2f}</td></tr>"
        for hit in decision["hits"][:SHOWN_HITS]
    )
    head = "<tr><th>rank</th><th>answer</th><th>matched by</th><th>score</th><th>words</th><th>meaning</th></tr>"
    searched = f"Searched: {' · '.join(decision['searched'])}. Margin between the best two: {decision['margin']:.2f}."
    table = f"<table>{head}{rows}</table>" if rows else ""
    return f"<h3>Decision</h3><p>{escape(decision['why'])}</p><p>{escape(searched)}</p>{table}"


def _generated_html(generated: dict[str, Any]) -> str:
    shown = [
        f"{row['text']} [{row['citation']}]"
        + (f" – vetted: {row['nearest_vetted']}" if "nearest_vetted" in row else "")
        for row in generated["shown"]
    ]
    dropped = [f"{row['text']} – {'; '.join(row['reasons'])}" for row in generated["dropped"]]
    passed = f"Shown; each passed: {', '.join(generated['checks'])}."
    model = escape(generated["model"] or "")
    return f"<h3>Short reply {model}</h3>{_list(passed, shown)}{_list('Written, refused and never shown:', dropped)}"


def _list(title: str, rows: Sequence[str]) -> str:
    if not rows:
        return ""
    return f"<p>{escape(title)}</p><ul>{''.join(f'<li>{escape(row)}</li>' for row in rows)}</ul>"
