"""What one turn of vetted text costs in processor time: a figure that a busy machine does not change much.

    python tests/measurements/turn_cost.py --state FOLDER

Asks the first question of shipped answers without a model, on one thread; prints seconds of processor and of clock.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from chatbot.bootstrap import open_service  # noqa: E402 - the project's root must be on the path first
from chatbot.settings import Settings  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100)
    args = parser.parse_args()
    service = open_service(Settings(state=args.state, mode="verbatim"), with_model=False)
    service.warm_up()
    spent_ms, passed_ms = [], []
    for answer in list(service.knowledge.answers.values())[: args.count]:
        clock, processor = time.perf_counter(), time.process_time()
        service.pipeline.reply(answer.questions[0], mode="verbatim")
        spent_ms.append((time.process_time() - processor) * 1000)
        passed_ms.append((time.perf_counter() - clock) * 1000)
    cuts = {"median": 0.5, "95 %": 0.95}
    print(json.dumps({
        "turns": len(spent_ms),
        "processor ms": {name: round(statistics.quantiles(spent_ms, n=100)[int(100 * cut) - 1], 1) for name, cut in cuts.items()},
        "clock ms": {name: round(statistics.quantiles(passed_ms, n=100)[int(100 * cut) - 1], 1) for name, cut in cuts.items()},
    }))  # fmt: skip


if __name__ == "__main__":
    main()
