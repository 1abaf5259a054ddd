"""A health-FAQ chatbot that answers from a clinic's own vetted files, offline.

Start reading in ``pipeline.py``: one patient's turn, top to bottom.
"""

import os

# Nothing a patient types may leave the machine. Gradio and the Hugging Face libraries read these once,
# at import, so they are set before anything else of this package is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["GRADIO_RUN_HISTORY"] = "False"
os.environ["GRADIO_SSR_MODE"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

__version__ = "0.1.0"
