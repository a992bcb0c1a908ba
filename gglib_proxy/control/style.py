"""How gglib's pages look, and what browsers may do on them: nothing but show them.

Not here: their contents.
"""

from __future__ import annotations

import base64
import hashlib

from quart import Response

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
color:#1c1c1e;background:#fff}
code,pre{font:14px/1.5 ui-monospace,monospace;background:#f2f2f4;border-radius:4px}
code{padding:.1em .3em}pre{padding:.8em;white-space:pre-wrap;overflow-wrap:anywhere}
h1{margin-bottom:.3em}h2{margin-top:2rem}nav{margin:1rem 0;line-height:2}
table{border-collapse:collapse;width:100%}td:first-child{overflow-wrap:anywhere}
th,td{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #ddd}
.loaded{color:#106b21}.loading{color:#8a5a00}.failed{color:#b00020}
details{border:1px solid #ddd;border-radius:6px;margin:.4rem 0;padding:.3rem .8rem}
summary{cursor:pointer}summary:hover{background:#f2f2f480}details[open]{padding-bottom:.8rem}
.method{display:inline-block;width:4.8rem;font:600 14px/1.5 ui-monospace,monospace}
.get{color:#0b57d0}.post{color:#106b21}.patch,.put{color:#8a5a00}.delete{color:#b00020}
details{position:relative}summary{padding-right:8rem}
.scope{position:absolute;right:.8rem;top:.4rem;font-size:13px;opacity:.7}
@media(max-width:40rem){summary{padding:0}.method{width:auto;margin-right:.4em}
.what,.scope{display:block;position:static}}
@media(prefers-color-scheme:dark){body{color:#eee;background:#1c1c1e}
code,pre{background:#2c2c2e}th,td,details{border-color:#444}a{color:#8ab4f8}
summary:hover{background:#2c2c2e80}.get{color:#8ab4f8}
.loaded,.post{color:#6fdc85}.loading,.patch,.put{color:#f0c060}.failed,.delete{color:#ff8a80}}
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
TITLE_END = f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
"""What follows the title in every page's head."""


def page_answer(body: bytes, kind: str) -> Response:
    """A page, or the same as JSON or text."""
    headers = {
        "content-security-policy": _POLICY,
        "referrer-policy": "no-referrer",
        "cache-control": "no-cache",
        "vary": "accept",
    }
    text = kind if kind == "application/json" else f"{kind}; charset=utf-8"
    return Response(body, content_type=text, headers=headers)
