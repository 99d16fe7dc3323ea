"""The pages without a token: health, metrics, and a description of this server."""

import html
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from swallowtail import __version__
from swallowtail.cloud.access_control.authentication import Authentication
from swallowtail.cloud.model.port_errors import CloudError
from swallowtail.cloud.web.access import use_cases_of

STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:4rem auto;padding:0"
    " 1rem;color:#1d2733;background:#fff}"
    "code{background:#eef2f5;padding:.1rem .3rem;border-radius:.2rem}a{color:#0b5cad}"
    "@media(prefers-color-scheme:dark){body{color:#dde5ec;background:#12181f}"
    "code{background:#202a34}a{color:#7ab8f5}}"
)

PAGE: Final = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Swallowtail Cloud</title><link rel="stylesheet" href="/style.css"></head>
<body><h1>Swallowtail Cloud</h1>
<p>Release {html.escape(__version__)}.
It connects a hospital's imaging and record systems through one outbound encrypted WebSocket.</p>
<p>There is no console in this release. What there is:</p>
<ul>
<li><a href="/openapi.json">/openapi.json</a> describes the REST API at <code>/api/v1</code></li>
<li><code>/dicomweb</code> answers QIDO-RS, WADO-RS and STOW-RS</li>
<li><code>/link</code> is where Links connect</li>
<li><a href="/healthz">/healthz</a>, <a href="/readyz">/readyz</a>,
<a href="/metrics">/metrics</a></li>
</ul>
<p>Set up a hospital with <code>swallowtail cloud apply FILE</code>.</p></body></html>
"""


async def front(_: Request) -> Response:
    """Return a description of this server."""
    return HTMLResponse(PAGE)


async def style(_: Request) -> Response:
    """Return the page's style: the content security policy allows none inside the page."""
    return Response(STYLE, media_type="text/css")


async def running(_: Request) -> Response:
    """Return that the process runs; needs no storage."""
    return PlainTextResponse("alive\n")


async def ready(request: Request) -> Response:
    """Return whether requests can be served: the store answers.

    And which protection workers run without.
    """
    try:
        await use_cases_of(request).get(Authentication).check_storage()
    except CloudError:
        return PlainTextResponse("storage is not available\n", HTTPStatus.SERVICE_UNAVAILABLE)
    unprotected: Mapping[str, str] = request.app.state.unprotected
    without = (f"workers run without {layer}: {reason}\n" for layer, reason in unprotected.items())
    return PlainTextResponse("".join(["ready\n", *without]))


async def metrics(_: Request) -> Response:
    """Return the metrics of this process; they contain amounts, never names."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


ROUTES: Final = (
    Route("/", front),
    Route("/style.css", style),
    Route("/healthz", running),
    Route("/readyz", ready),
    Route("/metrics", metrics),
)
