"""How values read on a page: numbers, spans of time, hostile text made visible. Knows no template.

`static/text.js` says the same in the browser; a test holds the two together.
"""

import datetime as dt
import json
import math
import re
from collections.abc import Mapping

from services.jobqueue.records import JobRecord, QueuePlace, Scores

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


def dataset(job: JobRecord, names: Mapping[str, str]) -> str:
    """The name of the data set that the job reads, or else the beginning of its id."""
    if job.spec is None:
        return NOTHING
    return visible_line(names.get(job.spec.dataset, job.spec.dataset[:11] + "…"))


def title(job: JobRecord) -> str:
    """What a person calls the job."""
    return visible_line((job.spec and job.spec.name) or job.id)


def score(scores: Scores | None) -> str:
    """`1.573`, bits per character; of a task that writes none, its validation loss: `0.412 nats`."""
    if scores is None:
        return NOTHING
    if scores.bits_per_character is not None:
        return decimals(scores.bits_per_character, 3)
    return NOTHING if scores.validation_loss is None else f"{decimals(scores.validation_loss, 3)} nats"


_REASONS = {
    "no_free_worker": "every worker is taken",
    "backoff": "waits before its next attempt",
    "quota": "waits for its tenant's quota",
    "larger_job": "free workers are kept for a larger job",
    "cluster_grows": "waits for workers that the cluster has to add",
    "no_such_worker": "no worker here could run it",
    "drained": "the service is drained and takes up no jobs",
}


def waits(place: QueuePlace) -> str:
    """Why a queued job waits, and until when: `place 3: every worker is taken, starts in about 2 min`."""
    said = f"place {place.position}: {_REASONS[place.reason]}"
    return said if place.eta_seconds is None else f"{said}, starts in about {span(place.eta_seconds)}"


def moment(at: float | None) -> str:
    """`2026-11-25 19:33:53 UTC`."""
    return NOTHING if at is None else f"{dt.datetime.fromtimestamp(at, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"


def size(num_bytes: int) -> str:
    """`812 B`, `1.5 MB`."""
    number = float(num_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            break
        number /= 1000
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"


def plain(value: object) -> str:
    """A value of a spec, in one line: JSON, but a text as it is."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
