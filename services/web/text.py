"""How values read on a page: numbers, spans of time, hostile text made visible. Knows no template.

`static/text.js` says the same in the browser; a test holds the two together.
"""

import math
import re

from services.jobqueue.records import JobRecord

# Characters that a reader cannot see or that reorder what they see: controls but tab and newline, bidi marks,
# zero-width and invisible format characters, line separators, lone surrogates, tag characters.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_BREAKS = re.compile(r"[\t\n]")
NOTHING = "–"


def visible(text: str) -> str:
    """`text` with every invisible character written out, `⟨U+202E⟩`; tab and newline stay."""
    return _INVISIBLE.sub(_written_out, text)


def visible_line(text: str) -> str:
    """The same for what must stay on one line: tab and newline are written out too."""
    return _BREAKS.sub(_written_out, visible(text))


def _written_out(match: re.Match[str]) -> str:
    return f"⟨U+{ord(match[0]):04X}⟩"  # not the control pictures: many fonts lack them


def decimals(value: float | None, digits: int) -> str:
    """`1.234`; a dash for what is missing, `not finite` for what cannot be a loss."""
    if value is None:
        return NOTHING
    return f"{value:.{digits}f}" if math.isfinite(value) else "not finite"


def count(value: float | None) -> str:
    """`1,234,567`, rounded half up."""
    return NOTHING if value is None else f"{math.floor(value + 0.5):,}"


def percent(ratio: float) -> str:
    """`42 %`; never 100 before the end."""
    return f"{math.floor(ratio * 100)} %"


def span(seconds: float | None) -> str:
    """`8 s`, `3 min`, `2 h 5 min`, `4 d 3 h`."""
    if seconds is None:
        return NOTHING
    whole = max(0, math.floor(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86_400
    if whole < 60:
        return f"{whole} s"
    if minutes < 60:
        return f"{minutes} min"
    if hours < 24:
        return f"{hours} h {minutes % 60} min"
    return f"{days} d {hours % 24} h"


def network(job: JobRecord) -> str:
    """`lstm 320x1`: cell, units of a layer, layers."""
    if job.spec is None:
        return "unreadable"
    model = job.spec.model
    return f"{model.cell} {model.hidden_size}x{model.num_layers}"


def title(job: JobRecord) -> str:
    """What a person calls the job."""
    return visible_line((job.spec and job.spec.name) or job.id)


def size(num_bytes: float) -> str:
    """`812 B`, `1.1 MB`, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.0f} B" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.1f} TB"
