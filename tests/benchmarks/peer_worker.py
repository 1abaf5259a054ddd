"""One program under comparison, in a process of its own: reads questions, a JSON line each, and says what it showed.

Run by ``peers.py``, in the environment of ``peers.txt``. SETTINGS is "documented" (the example in the program's own
documentation, nothing changed but the model and the texts) or "best" (the best we know: short passages with their title,
words and meaning together, the model's own chat format, an instruction to say so when nothing fits, streaming).
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")
os.environ.setdefault("ANONYMIZED_TELEMETRY", "False")

NO_MODEL = "none"  # what is found, and how soon; nothing is written
MAX_TOKENS = 160  # as the product's own replies; the documented settings keep their own
TOP_K = 3
BEST_PROMPT = (
    "Answer the question in one to four short sentences. Use only facts from the context. "
    "If the context does not answer the question, say only: I do not know.\n\nContext:\n{context}\n\nQuestion: {question}"
)


@dataclass
class Said:
    """What one question led to."""

    ids: list[str] = field(default_factory=list)  # answers used, best first
    passages: list[str] = field(default_factory=list)  # the texts that the model was given
    text: str = ""
    first_s: float = 0.0  # until the first words could be read
    total_s: float = 0.0


Ask = Callable[[str], Said]


def entries(answers: list[dict[str, Any]], best: bool) -> list[tuple[str, str]]:
    """Return (answer id, text) pairs: whole answers as documented, passages with their title at its best."""
    if not best:
        return [(one["id"], f"{one['title']}\n{one['text']}") for one in answers]
    return [(one["id"], text) for one in answers for text in one["entries"]]


def written(pieces: Iterator[str], start: float) -> tuple[str, float]:
    """Return the whole text, and when its first words came."""
    text, first = "", 0.0
    for piece in pieces:
        text += piece
        first = first or (time.perf_counter() - start if text.strip() else 0.0)
    return text.strip(), first


def found_alone(question: str, search: Callable[[str], list[tuple[str, str]]]) -> Said:
    """Return what a program finds, without a model's reply."""
    start = time.perf_counter()
    hits = search(question)
    took = time.perf_counter() - start
    return Said([id_ for id_, _ in hits], [text for _, text in hits], "", took, took)


def txtai(answers: list[dict[str, Any]], model: str, embedder: str, best: bool) -> Ask:
    """Documentation: txtai's RAG pipeline page (Embeddings with content, RAG with a system prompt and a template)."""
    from txtai import LLM, RAG, Embeddings

    rows = entries(answers, best)
    embeddings = Embeddings(path=embedder, content=True, **({"hybrid": True} if best else {}))
    embeddings.index([(place, text, None) for place, (_, text) in enumerate(rows)])
    template = (
        BEST_PROMPT
        if best
        else "Answer the following question using the provided context.\n\nQuestion:\n{question}\n\nContext:\n{context}"
    )
    if model == NO_MODEL:
        return lambda question: found_alone(
            question, lambda q: [(rows[int(hit["id"])][0], hit["text"]) for hit in embeddings.search(q, TOP_K)]
        )
    rag = RAG(
        embeddings, LLM(model), template=template, separator="\n" if best else " ", context=TOP_K if best else None,
        system=None if best else "You are a friendly assistant. You answer questions from users.", output="flatten",
    )  # fmt: skip

    def ask(question: str) -> Said:
        found = embeddings.search(question, TOP_K)
        said = Said([rows[int(hit["id"])][0] for hit in found], [hit["text"] for hit in found])
        start = time.perf_counter()
        if best:
            pieces = rag(question, maxlength=MAX_TOKENS, stream=True, temperature=0)
            said.text, said.first_s = written(iter(pieces), start)
        else:
            said.text = str(rag(question)).strip()
        said.total_s = time.perf_counter() - start
        said.first_s = said.first_s or said.total_s
        return said

    return ask


def haystack(answers: list[dict[str, Any]], model: str, embedder: str, best: bool) -> Ask:
    """Documentation: Haystack's first retrieval-augmented pipeline, with its llama.cpp and sentence-transformers parts."""
    from haystack import Document, Pipeline
    from haystack.components.builders import ChatPromptBuilder
    from haystack.components.joiners import DocumentJoiner
    from haystack.components.retrievers.in_memory import InMemoryBM25Retriever, InMemoryEmbeddingRetriever
    from haystack.dataclasses import ChatMessage
    from haystack.document_stores.in_memory import InMemoryDocumentStore
    from haystack_integrations.components.embedders.sentence_transformers import (
        SentenceTransformersDocumentEmbedder,
        SentenceTransformersTextEmbedder,
    )
    from haystack_integrations.components.generators.llama_cpp import LlamaCppChatGenerator

    store = InMemoryDocumentStore(embedding_similarity_function="cosine") if best else InMemoryDocumentStore()
    maker = SentenceTransformersDocumentEmbedder(model=embedder, progress_bar=False)
    if hasattr(maker, "warm_up"):
        maker.warm_up()
    documents = [Document(content=text, meta={"answer": id_}) for id_, text in entries(answers, best)]
    store.write_documents(maker.run(documents)["documents"])
    body = "{% for document in documents %}{{ document.content }}\n{% endfor %}"
    prompt = (
        BEST_PROMPT.format(context=body, question="{{question}}")
        if best
        else f"Given the following information, answer the question.\n\nContext:\n{body}\nQuestion: {{{{question}}}}\nAnswer:"
    )
    times: dict[str, float] = {}

    def streamed(chunk: Any) -> None:
        if chunk.content and "first" not in times:
            times["first"] = time.perf_counter()

    generator = None if model == NO_MODEL else LlamaCppChatGenerator(
        model=model,
        generation_kwargs={"max_tokens": MAX_TOKENS, "temperature": 0} if best else {"max_tokens": 128, "temperature": 0.1},
        model_kwargs={"verbose": False},
        streaming_callback=streamed if best else None,
    )  # fmt: skip
    pipeline = Pipeline()
    pipeline.add_component("embed", SentenceTransformersTextEmbedder(model=embedder, progress_bar=False))
    pipeline.add_component("near", InMemoryEmbeddingRetriever(store, top_k=20 if best else 10))
    if generator is not None:
        pipeline.add_component("prompt", ChatPromptBuilder([ChatMessage.from_user(prompt)], required_variables="*"))
        pipeline.add_component("write", generator)
    pipeline.connect("embed.embedding", "near.query_embedding")
    if best:
        pipeline.add_component("words", InMemoryBM25Retriever(store, top_k=20))
        pipeline.add_component("join", DocumentJoiner(join_mode="reciprocal_rank_fusion", top_k=TOP_K))
        pipeline.connect("near", "join")
        pipeline.connect("words", "join")
    source = "join" if best else "near"
    if generator is not None:
        pipeline.connect(f"{source}.documents", "prompt.documents")
        pipeline.connect("prompt.prompt", "write.messages")

    if model == NO_MODEL:
        return lambda question: found_alone(question, lambda q: _haystack_hits(pipeline, q, best, source))

    def ask(question: str) -> Said:
        times.clear()
        inputs: dict[str, Any] = {"embed": {"text": question}, "prompt": {"question": question}}
        if best:
            inputs["words"] = {"query": question}
        start = time.perf_counter()
        out = pipeline.run(inputs, include_outputs_from={source})
        total = time.perf_counter() - start
        used = out[source]["documents"]
        text = (out["write"]["replies"][0].text or "").strip()
        first = times.get("first", start + total) - start
        return Said([str(d.meta["answer"]) for d in used], [d.content or "" for d in used], text, first, total)

    return ask


def _haystack_hits(pipeline: Any, question: str, best: bool, source: str) -> list[tuple[str, str]]:
    inputs: dict[str, Any] = {"embed": {"text": question}}
    if best:
        inputs["words"] = {"query": question}
    used = pipeline.run(inputs, include_outputs_from={source})[source]["documents"]
    return [(str(one.meta["answer"]), one.content or "") for one in used]


def llama_index(answers: list[dict[str, Any]], model: str, embedder: str, best: bool) -> Ask:
    """Documentation: LlamaIndex's CitationQueryEngine notebook and its llama.cpp page."""
    from llama_index.core import QueryBundle, Settings, VectorStoreIndex
    from llama_index.core.query_engine import CitationQueryEngine
    from llama_index.core.retrievers import QueryFusionRetriever
    from llama_index.core.schema import TextNode
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding
    from llama_index.llms.llama_cpp import LlamaCPP

    def as_chat(messages: Any) -> str:
        turns = "".join(f"<|im_start|>{m.role.value}\n{m.content}<|im_end|>\n" for m in messages)
        return f"{turns}<|im_start|>assistant\n"

    def as_prompt(text: str) -> str:
        return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"

    formats = {"messages_to_prompt": as_chat, "completion_to_prompt": as_prompt}  # what its llama.cpp page asks for
    more: dict[str, Any] = {"temperature": 0, "max_new_tokens": MAX_TOKENS} if best else {}
    Settings.llm = None if model == NO_MODEL else LlamaCPP(model_path=model, verbose=False, **formats, **more)
    Settings.embed_model = HuggingFaceEmbedding(model_name=embedder)
    nodes = [TextNode(text=text, metadata={"answer": id_}) for id_, text in entries(answers, best)]
    if best:
        for node in nodes:
            node.excluded_embed_metadata_keys = ["answer"]
    index = VectorStoreIndex(nodes)
    options: dict[str, Any] = {"similarity_top_k": TOP_K, "citation_chunk_size": 512}
    if best:
        from llama_index.retrievers.bm25 import BM25Retriever

        both = [index.as_retriever(similarity_top_k=20), BM25Retriever.from_defaults(nodes=nodes, similarity_top_k=20)]
        options |= {
            "retriever": QueryFusionRetriever(
                both, similarity_top_k=TOP_K, num_queries=1, mode="reciprocal_rerank", use_async=False
            ),
            "streaming": True,
        }
    if model == NO_MODEL:
        retriever = options.get("retriever") or index.as_retriever(similarity_top_k=TOP_K)

        def hits(question: str) -> list[tuple[str, str]]:
            return [(str(one.node.metadata["answer"]), one.node.get_content()) for one in retriever.retrieve(question)]

        return lambda question: found_alone(question, hits)
    engine = CitationQueryEngine.from_args(index, **options)

    def ask(question: str) -> Said:
        start = time.perf_counter()
        reply = engine.query(QueryBundle(question))
        if best:
            text, first = written(iter(reply.response_gen), start)
        else:
            text, first = str(reply).strip(), 0.0
        total = time.perf_counter() - start
        used = [source.node for source in reply.source_nodes]
        return Said(
            [str(n.metadata["answer"]) for n in used], [n.get_content() for n in used], text, first or total, total
        )

    return ask


def ours(answers: list[dict[str, Any]], model: str, embedder: str, best: bool) -> Ask:
    """The product itself, "best": guided; "documented": verbatim."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from chatbot.bootstrap import open_service
    from chatbot.pipeline import Finished, Shown
    from chatbot.settings import EngineSettings, Settings

    folder = Path(os.environ["BENCHMARK_STATE"])
    engine = EngineSettings(model="" if model in ("embedded", NO_MODEL) else model)
    service = open_service(Settings(state=folder, engine=engine), with_model=best and model != NO_MODEL)
    service.warm_up()

    def ask(question: str) -> Said:
        start, said = time.perf_counter(), Said()
        for event in service.pipeline.ask(question, mode="guided" if best else "verbatim"):
            if isinstance(event, Shown) and not said.first_s:
                said.first_s = time.perf_counter() - start
            if isinstance(event, Finished):
                reply = event.reply
        said.total_s = time.perf_counter() - start
        shown = [answers_of[id_] for id_ in dict.fromkeys(one.id for one in reply.citations) if id_ in answers_of]
        said.passages = [f"{one['title']}\n{one['text']}" for one in shown]
        said.ids = [one.id for one in reply.citations] if reply.outcome == "answered" else []
        said.text = "\n".join(one.text for one in reply.sentences if one.origin == "generated")
        said.__dict__["outcome"] = reply.outcome.value
        said.__dict__["offered"] = [one.id for one in reply.citations]
        return said

    answers_of = {one["id"]: one for one in answers}
    return ask


SYSTEMS = {"txtai": txtai, "haystack": haystack, "llama-index": llama_index, "ours": ours}


def main() -> None:
    """Build one system, say that it is ready, then answer line by line."""
    name, settings, model, embedder, texts = sys.argv[1:6]
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever the libraries print does not belong among the replies
    answers = json.loads(Path(texts).read_text(encoding="utf-8"))
    start = time.perf_counter()
    ask = SYSTEMS[name](answers, model, embedder, settings == "best")
    print(json.dumps({"ready_s": time.perf_counter() - start}), file=channel, flush=True)
    for line in sys.stdin:
        try:
            said = ask(json.loads(line)["question"])
            content = asdict(said) | {k: said.__dict__[k] for k in ("outcome", "offered") if k in said.__dict__}
        except Exception as error:  # a peer's failure is a result, not the end of the comparison
            content = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(content), file=channel, flush=True)


if __name__ == "__main__":
    main()
