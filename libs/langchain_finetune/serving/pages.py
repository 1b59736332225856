"""The pages for people: a playground and a list of the routes, each one file that loads nothing else."""

import html
import secrets
from importlib.resources import files
from string import Template
from typing import NamedTuple

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.responses import Response


class Page(NamedTuple):
    """A page, and the word that its own style and script are known by."""

    text: str
    nonce: str


def playground_page(root: str, path: str) -> Page:
    """Return the page that orders a training, follows it and asks its model.

    Args:
        root: URL of the routes.
        path: What the routes begin with, for its title.
    """
    return _filled("playground.html", root=root, path=path)


def docs_page(root: str, path: str, router: APIRouter) -> Page:
    """Return the page that lists the routes.

    FastAPI's own page loads its parts from elsewhere, and stays blank where there is no way out.

    Args:
        root: URL of the routes.
        path: What the routes begin with, for its title.
        router: The routes.
    """
    listed = [route for route in router.routes if isinstance(route, APIRoute)]
    rows = [
        f"<tr><td>{method}</td><td><code>{html.escape(route.path)}</code></td>"
        f"<td>{html.escape(route.summary or '')}</td></tr>"
        for route in listed
        for method in sorted(route.methods or ())
    ]
    page = _filled("docs_page.html", root=root, path=path, rows="\0")
    return page._replace(text=page.text.replace("\0", "\n".join(rows)))


def page_response(page: Page) -> Response:
    """Return a page with the headers that keep everything but itself out."""
    policy = (
        f"default-src 'none'; style-src 'nonce-{page.nonce}'; script-src 'nonce-{page.nonce}'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
    return Response(page.text, media_type="text/html; charset=utf-8", headers=headers)


def _filled(name: str, **values: str) -> Page:
    template = (files("langchain_finetune.serving") / name).read_text(encoding="utf-8")
    nonce = secrets.token_urlsafe(16)
    # The URL holds what the client sent as `Host`: on its own page, it is text.
    escaped = {key: html.escape(value, quote=True) for key, value in values.items()}
    return Page(Template(template).substitute(escaped, nonce=nonce), nonce)
