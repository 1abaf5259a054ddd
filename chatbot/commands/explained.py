"""``ask --explain`` in the terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table

from chatbot.explain import SHOWN_HITS


def print_explanation(out: Console, explained: dict[str, Any]) -> None:
    """Print why a turn ended as it did."""

    def say(line: str, style: str = "") -> None:
        out.print(line, style=style, markup=False, highlight=False, soft_wrap=True)

    fired = explained["safety"]
    say("\nSafety", "bold")
    say("No rule fired." if fired is None else f"{fired['rule']} fired on: {', '.join(fired['matched'])}")
    for row in explained["safety_near"]:
        say(f"  not fired: {row['rule']}, {row['words']} ({row['why']})", "dim")
    if explained["decision"] is not None:
        _print_decision(out, explained["decision"])
    generated = explained["generated"]
    if generated["shown"] or generated["dropped"]:
        say(f"\nShort reply {generated['model'] or ''}", "bold")
        say(f"Each shown sentence passed: {', '.join(generated['checks'])}")
    for row in generated["shown"]:
        say(f"  shown: {row['text']} [{row['citation']}]")
        if "nearest_vetted" in row:
            say(f"    nearest vetted sentence ({row['likeness']:.2f}): {row['nearest_vetted']}", "dim")
    for row in generated["dropped"]:
        say(f"  refused: {row['text']}\n    {'; '.join(row['reasons'])}", "yellow")
    say("\n" + ", ".join(f"{name.replace('_', ' ')} {ms:g} ms" for name, ms in explained["timings_ms"].items()), "dim")


def _print_decision(out: Console, decision: dict[str, Any]) -> None:
    out.print("\nDecision", style="bold")
    out.print(decision["why"], markup=False, highlight=False, soft_wrap=True)
    searched = " · ".join(decision["searched"])
    out.print(f"Searched: {searched}. Margin: {decision['margin']:.2f}", markup=False, highlight=False, soft_wrap=True)
    table = Table("rank", "answer", "matched by", "score", "words", "meaning")
    for hit in decision["hits"][:SHOWN_HITS]:
        shares = (f"{hit[name]:.2f}" for name in ("score", "words", "meaning"))
        table.add_row(str(hit["rank"]), hit["answer_id"], hit["entry"][:60], *shares)
    out.print(table)
