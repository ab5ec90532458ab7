"""The playground, `/playground?model=…`: models write and answer side by side. All it shows it asks of /v1 itself."""

from fastapi import Request
from fastapi.responses import Response

from services.web.site import Site, Visitor


def add(site: Site) -> None:
    """`/playground`."""

    @site.page("/playground")
    def playground(_: Request, visitor: Visitor) -> Response:
        return site.render("playground.html", visitor)
