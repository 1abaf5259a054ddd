"""Writes the table of figures of README.md from ``figures.yaml``, and says where the two and the reports disagree.

python tests/measurements/readme_table.py [--check]
"""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
README = PROJECT / "README.md"
BEGIN, END = "<!-- figures: written by tests/measurements/readme_table.py -->", "<!-- end of figures -->"
_QUOTED = re.compile(r"\{([^{}]+)\}")
Row = Mapping[str, str]


def rows() -> list[Row]:
    """Return the figures, in the order of the table."""
    content: list[Row] = yaml.safe_load((HERE / "figures.yaml").read_text(encoding="utf-8"))
    return content


def table(figures: Sequence[Row]) -> str:
    """Return the table as Markdown."""
    lines = ["| what | measured | aim | report | command |", "|---|---|---|---|---|"]
    for row in figures:
        measured = _QUOTED.sub(r"\1", row["measured"])
        name = row["report"].removesuffix(".md")
        link = f"[{name}](tests/measurements/{row['report']})"
        lines.append(f"| {row['what']} | {measured} | {row.get('aim', '')} | {link} | `{row['command']}` |")
    return "\n".join(lines)


def disagreements(figures: Sequence[Row], reports: Path = HERE) -> list[str]:
    """Return every figure that its report does not hold, and every command whose script or mention is missing."""
    told = []
    for row in figures:
        report = (reports / row["report"]).read_text(encoding="utf-8")
        words = re.sub(r"[*`]", "", report)
        told += [
            f"{row['report']} does not hold {figure!r} ({row['what']})"
            for figure in _QUOTED.findall(row["measured"])
            if not re.search(rf"(?<![\d.,]){re.escape(figure)}(?![\d])", words)
        ]
        script = next((part for part in row["command"].split() if part.endswith(".py")), "")
        if script and (not (PROJECT / script).is_file() or Path(script).name not in report):
            told.append(f"{row['report']} does not name {script}, or there is no such file ({row['what']})")
    return told


def readme_with(text: str, figures: Sequence[Row]) -> str:
    """Return the README's text with the table put between its two marks."""
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}\n{table(figures)}\n{END}{rest.split(END)[1]}"


def main() -> None:
    """Write the table, or only say what disagrees."""
    told = disagreements(rows())
    before = README.read_text(encoding="utf-8")
    after = readme_with(before, rows())
    if "--check" in sys.argv:
        told += ["README.md: the table is not what figures.yaml says"] if before != after else []
    else:
        README.write_text(after, encoding="utf-8")
    raise SystemExit("\n".join(told) or 0)


if __name__ == "__main__":
    main()
