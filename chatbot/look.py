"""The clinic's own look: a logo and colours, used only while everything stays easy to read."""

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from chatbot.errors import Problem

MIN_CONTRAST = 4.5  # WCAG 2.2, success criterion 1.4.3
MAX_LOGO_BYTES = 200_000
LOGO_TYPES: Mapping[str, str] = {
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".svg": "image/svg+xml",
}  # fmt: skip
COLOUR = r"^#[0-9a-fA-F]{6}$"
# The page's other colours, as in page.css: what stands on the clinic's background, and what its accent stands on.
LIGHT: Mapping[str, str] = {
    "ink": "#17222b", "soft": "#4a5963", "alert-line": "#b3261e", "card": "#ffffff", "on-accent": "#ffffff",
    "paper": "#f6f8f9", "accent": "#0b5c7a",
}  # fmt: skip
DARK: Mapping[str, str] = {
    "ink": "#eef3f6", "soft": "#b5c3cc", "alert-line": "#ff8a80", "card": "#1a252d", "on-accent": "#10181e",
    "paper": "#10181e", "accent": "#7cc7e6",
}  # fmt: skip


class Colours(BaseModel):
    """A clinic's colours as ``#rrggbb``; what is left out stays as the page has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accent: str | None = Field(default=None, pattern=COLOUR, description="links and the main button")
    background: str | None = Field(default=None, pattern=COLOUR)

    def style(self) -> str:
        """Return the colours as declarations of CSS."""
        chosen = {"--accent": self.accent, "--paper": self.background}
        return "".join(f"{name}:{colour};" for name, colour in chosen.items() if colour)


class Look(BaseModel):
    """Logo and colours, for the light page and the dark one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    logo: str | None = Field(default=None, pattern=r"^[\w-][\w.-]*$", description="a picture file beside clinic.yaml")
    light: Colours = Colours()
    dark: Colours = Colours()


def contrast(one: str, other: str) -> float:
    """Return how well one colour stands out from the other, from 1 to 21.

    Source: WCAG 2.2, "contrast ratio" and "relative luminance".
    """
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def look_problems(look: Look, root: Path) -> Iterator[Problem]:
    """Yield everything that keeps the logo or the colours from being used."""
    yield from _logo_problems(look, root)
    yield from _colour_problems(look.light, LIGHT, "light")
    yield from _colour_problems(look.dark, DARK, "dark")


def _colour_problems(colours: Colours, page: Mapping[str, str], name: str) -> Iterator[Problem]:
    if not colours.style():
        return
    accent, background = colours.accent or page["accent"], colours.background or page["paper"]
    pairs = (
        ("the accent on the background", accent, background), ("the accent on a card", accent, page["card"]),
        ("the words of the main button", page["on-accent"], accent), ("text on the background", page["ink"], background),
        ("small text on the background", page["soft"], background),
        ("the emergency number on the background", page["alert-line"], background),
    )  # fmt: skip
    for what, one, other in pairs:
        if (ratio := contrast(one, other)) < MIN_CONTRAST:
            mend = f"choose colours further apart; {MIN_CONTRAST:g} is needed, and until then the page keeps its own"
            yield Problem("clinic.yaml", f"look.{name}", f"{what} has a contrast of only {ratio:.1f}; {mend}")


def _logo_problems(look: Look, root: Path) -> Iterator[Problem]:
    if look.logo is None:
        return
    path = root / look.logo
    if path.suffix.lower() not in LOGO_TYPES:
        yield Problem("clinic.yaml", "look.logo", f"{look.logo!r} must be one of {', '.join(LOGO_TYPES)}")
    elif not path.is_file():
        yield Problem("clinic.yaml", "look.logo", f"there is no file {look.logo!r} beside clinic.yaml; add it")
    elif path.stat().st_size > MAX_LOGO_BYTES:
        yield Problem(
            "clinic.yaml", "look.logo", f"{look.logo!r} is larger than {MAX_LOGO_BYTES // 1000} kB; shrink it"
        )


def logo_address(look: Look, root: Path) -> str:
    """Return the logo as a ``data:`` address, so that the page asks for no file; empty without a usable one."""
    if look.logo is None or any(_logo_problems(look, root)):
        return ""
    path = root / look.logo
    return f"data:{LOGO_TYPES[path.suffix.lower()]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def look_style(look: Look) -> str:
    """Return the clinic's colours as CSS; those that would be hard to read are left out."""
    parts = ((":root", look.light, LIGHT, "light"), (".dark", look.dark, DARK, "dark"))
    return "".join(
        f"{place}{{{colours.style()}}}"
        for place, colours, page, name in parts
        if colours.style() and not any(_colour_problems(colours, page, name))
    )
