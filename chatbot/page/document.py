"""The page's one HTML document, as Gradio writes it and as it leaves the house."""

import re
from collections.abc import Sequence
from html import escape

# What Gradio writes for link previews names its own hosts; nothing of it is the clinic's.
_PREVIEWS = re.compile(r'\s*<meta\s+(?:property="og:|name="twitter:)[^>]*>', re.DOTALL)
_SCRIPT = re.compile(r"<script(?=[\s>])")


def rewrite_document(
    html: str, *, nonce: str, scripts: Sequence[str] = (), print_style: str = "", without_script: str = ""
) -> str:
    """Return Gradio's document made fit for a strict content security policy.

    Every script that the document itself holds carries the nonce, link previews are gone, and the page's own
    scripts come before Gradio's.

    Args:
        html: The document as Gradio wrote it. Nothing a patient typed is in it.
        nonce: The random word that the policy of this very response names.
        scripts: Addresses of the page's own scripts.
        print_style: Address of the style sheet for paper.
        without_script: What somebody reads whose browser runs no scripts, as plain text.
    """
    document = _PREVIEWS.sub("", html)
    own = "".join(f'<script src="{escape(address)}" defer></script>' for address in scripts)
    if print_style:
        own += f'<link rel="stylesheet" media="print" href="{escape(print_style)}">'
    document = document.replace("<head>", f"<head>{own}", 1)
    document = _SCRIPT.sub(f'<script nonce="{nonce}"', document)
    notice = f"<noscript><p>{escape(without_script)}</p></noscript>" if without_script else ""
    return document.replace("</body>", f"{notice}</body>", 1)
