"""The languages of the lecture, one TOML file each: a new file is a new language. Knows no template.

What stands under `script` is plain text for the ES modules; all else is markup for the template. Both come from us, and
nothing that a user wrote is ever put into them.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

DEFAULT = "en"
_HERE = Path(__file__).parent


def read(code: str) -> dict[str, Any]:
    """The words of one language, as its file has them."""
    return tomllib.loads((_HERE / f"{code}.toml").read_text(encoding="utf-8"))


def all_words() -> dict[str, dict[str, Any]]:
    """The words of every language by its code, the default first."""
    codes = sorted((path.stem for path in _HERE.glob("*.toml")), key=lambda code: (code != DEFAULT, code))
    return {code: _for_template(read(code)) for code in codes}


def preferred(accept_language: str, codes: Mapping[str, object]) -> str:
    """Which of `codes` a browser asks for first (RFC 9110, section 12.5.4); the default where it asks for none."""
    wishes: list[tuple[float, str]] = []
    for wish in accept_language[:1000].split(","):
        name, _, weight = wish.partition(";q=")
        code = name.strip().lower().partition("-")[0]
        if code in codes and _weight(weight) > 0:
            wishes.append((-_weight(weight), code))
    return min(wishes, key=lambda wish: wish[0])[1] if wishes else DEFAULT


def _weight(written: str) -> float:
    try:
        return float(written) if written.strip() else 1.0
    except ValueError:
        return 0.0


def _for_template(words: dict[str, Any]) -> dict[str, Any]:
    def marked(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: marked(inner) for key, inner in value.items()}
        return Markup(value)

    return {key: value if key == "script" else marked(value) for key, value in words.items()}
