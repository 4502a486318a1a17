"""What the branch knows: articles, and search in them.

GET /v1/articles/{article}   ?lang=             {article, title, lang, audience, topic, sections: [citation…]}
GET /v1/search               ?q= &lang= &limit= &product= &internal= {citations: [citation…]}
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from runtime.events import AskRequest, Citation
from runtime.server.service import Service

MAX_SEARCH = 50


def routes(service: Service) -> APIRouter:
    """The endpoints."""
    router = APIRouter(prefix="/v1")

    @router.get("/articles/{article}")
    def article(article: str, lang: str | None = None) -> dict[str, Any]:
        """One article, whole."""
        found = service.ready_desk().retriever.article(article, lang)
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
        q: str, lang: str | None = None, limit: int = 10, product: str = "", *, internal: bool = True
    ) -> dict[str, Any]:
        """The sections nearest to a question, best first; of articles about `product`, and only what is published."""
        desk = service.ready_desk()
        desk.admit(AskRequest(question=q or " "))
        hits = desk.search(q, lang=lang, limit=max(1, min(limit, MAX_SEARCH)), product=product, internal=internal)
        return {"citations": [Citation.of(hit.section, hit.score).model_dump() for hit in hits]}

    return router
