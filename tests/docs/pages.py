"""The pages of the documentation as what they make their readers do: blocks of commands, headings, links.

A block of a language in RUNS is run, in the order of its page, as a reader would type it. One that cannot be run says
why behind its language: ```sh not-run: needs a cluster. The Python blocks of a page are one program, run where its last
one stands.
"""

import re
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from docs.generate.markdown import anchor

ROOT = Path(__file__).parents[2]
RUNS = frozenset({"sh", "python"})
# Names that would hide commands from this mechanism.
MISNAMED = frozenset({"bash", "shell", "console", "zsh", "py", "pycon"})

_FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#{1,6} (.+?)\s*$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]\[]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is where it begins."""

    language: str
    text: str
    line: int
    section: str
    why_not_run: str | None = None

    @property
    def is_run(self) -> bool:
        return self.language in RUNS and self.why_not_run is None


@dataclass(frozen=True)
class Page:
    """One Markdown file; `name` is its path from the root of the project."""

    name: str
    text: str = field(repr=False)

    @cached_property
    def blocks(self) -> list[Block]:
        return [self._block(found) for found in _FENCE.finditer(self.text)]

    @cached_property
    def steps(self) -> list[Block]:
        """What a reader runs, in that order."""
        run = [block for block in self.blocks if block.is_run]
        program = [block for block in run if block.language == "python"]
        whole = "\n".join(block.text for block in program)
        steps = [block for block in run if block.language != "python" or block is program[-1]]
        return [
            Block("python", whole, block.line, block.section) if block.language == "python" else block
            for block in steps
        ]

    def section(self, heading: str) -> list[Block]:
        """The steps under a heading."""
        found = [step for step in self.steps if step.section == heading]
        assert found, f"{self.name} has no commands under {heading!r}"
        return found

    @cached_property
    def anchors(self) -> set[str]:
        prose = _FENCE.sub("", self.text)
        return {anchor(re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)) for heading in _HEADING.findall(prose)}

    @cached_property
    def links(self) -> list[str]:
        return _LINK.findall(re.sub(r"`[^`\n]*`", "", _FENCE.sub("", self.text)))

    def _block(self, found: re.Match[str]) -> Block:
        language, _, rest = found[2].strip().partition(" ")
        indent = len(found[1])
        text = "".join(line[indent:] if line[:indent].isspace() else line for line in found[3].splitlines(True))
        before = self.text[: found.start()]
        headings = _HEADING.findall(_FENCE.sub("", before))
        reason = rest.removeprefix("not-run:").strip() if rest.startswith("not-run:") else None
        assert not rest or reason, f"{self.name}: ```{found[2]} is neither run nor says why not"
        return Block(language, text, before.count("\n") + 1, headings[-1] if headings else "", reason)


@cache
def page(name: str) -> Page:
    return Page(name, (ROOT / name).read_text(encoding="utf-8"))


def pages() -> list[Page]:
    """Every page for users and contributors."""
    files = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")] + sorted((ROOT / "docs").rglob("*.md"))
    return [page(file.relative_to(ROOT).as_posix()) for file in files]
