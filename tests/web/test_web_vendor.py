"""What others wrote is served unaltered, with its licence."""

import hashlib
import json
from pathlib import Path

from services.web.site import HERE

VENDOR = HERE / "static" / "vendor"
MANIFEST = json.loads((VENDOR / "manifest.json").read_text())


def hashes(folder: Path) -> dict[str, str]:
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.iterdir()
        if file.name != "manifest.json"
    }


def test_vendored_files_are_those_of_the_manifest_byte_for_byte() -> None:
    listed = {name: digest for package in MANIFEST.values() for name, digest in package["files"].items()}
    assert hashes(VENDOR) == listed


def test_vendored_package_carries_version_and_licence() -> None:
    assert MANIFEST["uplot"]["version"] == "1.6.32"
    assert b"leeoniya/uPlot (v1.6.32)" in (VENDOR / "uplot-1.6.32.min.js").read_bytes()[:300]
    assert "Permission is hereby granted" in (VENDOR / "uplot-LICENSE.txt").read_text()


def test_own_pages_hold_no_inline_script_style_or_handler() -> None:
    for template in (HERE / "templates").rglob("*.html"):
        source = template.read_text()
        assert "<style" not in source
        assert " style=" not in source
        assert "|safe" not in source.replace(" ", "")
        assert source.count("<script") == source.count("<script src=") + source.count('<script type="module" src=')
        assert not any(f" on{event}=" in source for event in ("click", "load", "error", "submit", "input", "change"))


def test_own_modules_never_write_html() -> None:
    modules = [path for path in (HERE / "static").rglob("*.js") if VENDOR not in path.parents]
    assert modules
    for module in modules:
        source = module.read_text()
        for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
            assert sink not in source, f"{module.name} uses {sink}"
