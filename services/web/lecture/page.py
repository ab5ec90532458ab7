"""The lecture, `/lecture/{language}`: its chapters in order, and the cells' equations as the service runs them."""

import ast
from importlib.resources import files

from fastapi import Request
from fastapi.responses import Response

from services.web.lecture import catalogue
from services.web.site import HEADERS, Site, Visitor

CHAPTERS = ("shapes", "hello", "truncation", "vanishing", "gates", "sampling", "next")


def add(site: Site) -> None:
    """`/lecture`, which leads to the visitor's language, `/lecture/{language}` and `/lecture/cells.py`."""
    words = catalogue.all_words()
    languages = {code: of_language["language"] for code, of_language in words.items()}
    cells = (files("rnncore") / "cells.py").read_text(encoding="utf-8")  # read, not imported: it would bring torch
    code = functions(cells)

    @site.page("/lecture")
    def lecture(request: Request, _: Visitor) -> Response:
        return site.redirect("/lecture/" + catalogue.preferred(request.headers.get("accept-language", ""), languages))

    @site.page("/lecture/cells.py")
    def source(_: Request, __: Visitor) -> Response:
        return Response(cells, media_type="text/plain; charset=utf-8", headers=HEADERS)

    @site.page("/lecture/{language}")
    def in_language(request: Request, visitor: Visitor) -> Response:
        language = request.path_params["language"]
        if language not in words:
            return site.not_found(visitor, f"lecture in {language}")
        return site.render(
            "lecture/page.html",
            visitor,
            w=words[language],
            language=language,
            languages=languages,
            chapters=CHAPTERS,
            code=code,
        )


def functions(source: str) -> dict[str, str]:
    """The text of each function by its name."""
    found = (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
    return {node.name: ast.get_source_segment(source, node) or "" for node in found}
