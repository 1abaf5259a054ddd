"""Benchmarks: the whole product beside its own parts and beside others. Never part of the tests.

python tests/benchmarks/run.py NAME [options]
"""

import importlib
import sys
from pathlib import Path

NAMES = {
    "turn": "a whole turn: time to vetted text, first checked sentence, end; 1, 4 and 20 patients; memory",
    "parts": "the product beside its bare parts: SentenceTransformer.encode, faiss, bm25s, llama-cpp-python",
    "peers": "the product beside txtai, Haystack and LlamaIndex",
    "growth": "100 to 1,000,000 entries; length of answers and of the history",
    "energy": "watt-hours an answer, in every mode",
    "together": "questions of several patients embedded in one pass, against one pass each",
    "flame": "where the time goes with 16,407 answers and 20 patients, as a flame graph",
}


def main() -> None:
    """Run one benchmark."""
    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        lines = "\n".join(f"  {name:12} {what}" for name, what in NAMES.items())
        raise SystemExit(f"{__doc__}\n{lines}")
    sys.path.insert(0, str(Path(__file__).parent))
    importlib.import_module(sys.argv[1]).main(sys.argv[2:])


if __name__ == "__main__":
    main()
