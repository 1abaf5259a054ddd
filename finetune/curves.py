"""The losses of a training as a picture, and in trackio's local store (``trackio show`` with TRACKIO_DIR set to it)."""

import contextlib
import io
import json
import os
from pathlib import Path


def plot_curve(log: Path, picture: Path) -> None:
    """Draw the losses of a finished training."""
    import matplotlib as mpl  # noqa: PLC0415 - a second to import

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    history = json.loads(log.read_text(encoding="utf-8"))
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for name, label in (("loss", "training"), ("eval_loss", "validation")):
        points = [(entry["step"], entry[name]) for entry in history if name in entry]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, marker="o" if name == "eval_loss" else None)
    axes.set_xlabel("step")
    axes.set_ylabel("nats a reply token")
    axes.legend()
    figure.tight_layout()
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)


def keep_curve(log: Path, store: Path, run: str) -> None:
    """Put a finished training's losses into a trackio store in a folder; nothing leaves the machine."""
    store.mkdir(parents=True, exist_ok=True)
    os.environ["TRACKIO_DIR"] = str(store)  # read once, when trackio is imported
    with contextlib.redirect_stdout(io.StringIO()):  # it advertises commands that do not know where our store is
        import trackio  # noqa: PLC0415 - seconds to import

        trackio.init(project="health-faq", name=run, auto_log_gpu=False, auto_log_cpu=False)
        for entry in json.loads(log.read_text(encoding="utf-8")):
            losses = {name: entry[name] for name in ("loss", "eval_loss", "learning_rate") if name in entry}
            if losses:
                trackio.log(losses, step=entry["step"])
        trackio.finish()
