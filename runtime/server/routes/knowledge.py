"""What the branch knows: articles, and search in them.

GET /v1/articles/{article}   ?lang=             {article, title, lang, audience, topic, sections: [citation…]}
GET /v1/search               ?q= &lang= &limit= &product= &internal= {citations: [citation…]}

A caller without leave to read internal articles gets public ones only.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from runtime.errors import MissingError
from runtime.events import AskRequest, Audience, Citation
from runtime.server.access import Caller
from runtime.server.service import Service

MAX_SEARCH = 50


def routes(service: Service) -> APIRouter:
    """The endpoints."""
    router = APIRouter(prefix="/v1")

    @router.get("/articles/{article}")
    def article(article: str, request: Request, lang: str | None = None) -> dict[str, Any]:
        """One article with all its sections."""
        caller: Caller = request.scope["caller"]
        found = service.ready_desk().retriever.article(article, lang)
        if found.audience != "public" and not caller.internal:
            # As one that there is not: its being there is internal too.
            raise MissingError(f"no article '{article}'", hint="ids are listed in the bundle's articles folder")
        return {
            "article": found.id,
            "title": found.title,
            "lang": found.lang,
            "audience": found.audience,
            "topic": found.topic,
            "sections": [Citation.of(section).model_dump() for section in found.sections],
        }

    @router.get("/search")
    def search(
        request: Request,
        q: str,
        lang: str | None = None,
        limit: int = 10,
        product: str = "",
        *,
        internal: bool | None = None,
    ) -> dict[str, Any]:
        """The sections nearest to a question, best first; of articles about `product`, and only what is published."""
        desk = service.ready_desk()
        wanted: Audience | None = None if internal is None else "internal" if internal else "public"
        audience = service.audience_for(request.scope["caller"], wanted)
        desk.check_question(AskRequest(question=q or " "))
        hits = desk.search(
            q, lang=lang, limit=max(1, min(limit, MAX_SEARCH)), product=product, internal=audience != "public"
        )
        return {"citations": [Citation.of(hit.section, hit.score).model_dump() for hit in hits]}

    return router
