"""The pages of models: `/models` and `/models/{id}`."""

import re

from fastapi import Request
from fastapi.responses import Response

from services.web.site import Site, Visitor

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")


def add(site: Site) -> None:
    """What can be sampled; `/parts/models`, the tables alone; one model with all checkpoints of its job."""

    def listed(template: str, request: Request, visitor: Visitor) -> Response:
        after = request.query_params.get("after")
        found = site.sources.shelves.models(visitor.tenant, after)
        return site.render(template, visitor, models=found, after=after)

    @site.page("/models")
    def models(request: Request, visitor: Visitor) -> Response:
        return listed("models.html", request, visitor)

    @site.part("/parts/models")
    def models_part(request: Request, visitor: Visitor) -> Response:
        return listed("models_tables.html", request, visitor)

    @site.page("/models/{model_id}")
    def model(request: Request, visitor: Visitor) -> Response:
        model_id = request.path_params["model_id"]
        shelf = site.sources.shelves.model(visitor.tenant, model_id) if _ID.fullmatch(model_id) else None
        if shelf is None:
            return site.not_found(visitor, f"model {model_id}")
        url = str(request.base_url).rstrip("/")
        return site.render("model.html", visitor, shelf=shelf, url=url)
