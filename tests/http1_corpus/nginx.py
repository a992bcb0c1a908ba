"""Where nginx 1.22 does otherwise than gglib, and why.

An outcome is the answers' statuses and, behind each bar, what the upstream was sent.
"""

from __future__ import annotations

NGINX_VERSION = "1.22"
"""What the outcomes were taken from."""
DIFFERENCES: dict[str, dict[str, str]] = {
    (
        "It says 501 to a coding that it does not know; gglib says 400, since a body without a "
        "known end is malformed."
    ): {
        "a tab before the coding": "501",
        "chunked, chunked": "501",
        "gzip, chunked": "501",
        "identity coding": "501",
        "an unknown coding": "501",
        "chunked, quoted": "501",
        "TE.TE, identity": "501",
        "chunked before identity": "501",
        "TE with a vertical tab": "501",
        "TE with a form feed": "501",
        "TE with a comma behind": "501",
        "TE with a comma before": "501",
        "TE with a parameter": "501",
        "an empty TE": "501",
        "an empty TE and a length": "501",
        "identity and a length": "501",
        "an unknown coding and a length": "501",
        "deflate": "501",
        "an upgrade with gzip, chunked": "501",
    },
    (
        "It takes LF alone for the end of a line. gglib does not: who reads CR LF only would see "
        "one line where others see two."
    ): {
        "TE with a bare LF": "200 | 'POST /'",
        "TE behind a bare LF": "200 | 'POST /'",
        "one line without CR": "200 | 'GET /'",
        "the last line without CR": "200 | 'GET /'",
        "LF in the target": " | 'GET /a'",
    },
    (
        "It skips spaces, tabs and whatever else stands behind a chunk's size, and takes LF for a"
        " line's end there."
    ): {
        "a space behind the chunk size": "200 | 'POST / abc'",
        "a chunk line without CR": "200 | 'POST / abc'",
        "an extension without CR": "200 | 'POST / abc'",
        "a tab behind the chunk size": "200 | 'POST / abc'",
        "a chunk that ends with LF": "200 | 'POST / abc'",
        "a last chunk of LF": "200 | 'POST /'",
        "a last line of LF": "200 | 'POST /'",
        "a space before an extension": "200 | 'POST / abc'",
        "an empty extension": "200 | 'POST / abc'",
        "an empty extension and LF": "200 | 'POST / abc'",
        "an extension with a control character": "200 | 'POST / abc'",
        "an extension whose quote hides the line end": "200 | 'POST / abc'",
        "a chunk that is too short": "200 | 'POST / ab'",
        "an extension that hides a line in LF": "",
    },
    (
        "It skips trailers without reading them. gglib reads them as headers, so that none can be"
        " taken for another thing, and drops them."
    ): {
        "a length in a trailer": "200 | 'POST /'",
        "a coding in a trailer": "200 200 | 'POST /' | 'GET /'",
        "a close in a trailer, then more": "200 200 | 'POST /' | 'GET /'",
        "a trailer with LF": "200 | 'POST /'",
        "a folded trailer": "200 | 'POST /'",
        "a trailer without a colon": "200 | 'POST /'",
        "a trailer with a space before the colon": "200 | 'POST /'",
        "a trailer with NUL": "200 | 'POST /'",
    },
    (
        "It takes any word for a method, and so a byte left over from a body becomes part of the "
        "next one."
    ): {
        "a surplus byte behind the body": "200 200 | 'POST / abc' | 'XGET /'",
    },
    (
        "It drops headers whose names are none, and control characters in values pass. gglib "
        "refuses the request."
    ): {
        "a control character in a value": "200 | 'GET /'",
        "no colon": "200 | 'GET /'",
        "a name in parentheses": "200 | 'GET /'",
        "a name with a slash": "200 | 'GET /'",
        "a name in quotes": "200 | 'GET /'",
        "a name beyond ASCII": "200 | 'GET /'",
        "DEL in a value": "200 | 'GET /'",
        "escape in a value": "200 | 'GET /'",
    },
    (
        "It passes on what its upstream then refuses: h11 knows neither characters beyond ASCII "
        "in a target nor a vertical tab in a value."
    ): {
        "a vertical tab in a value": "502",
        "a target beyond ASCII": "502",
    },
    (
        "It takes for a host whatever has no slash, and replaces it. gglib passes the host to its"
        " control plane, which compares it."
    ): {
        "Host with a user": "200 | 'GET /'",
        "Host beyond ASCII": "200 | 'GET /'",
        "Host of two ports": "200 | 'GET /'",
        "Host with a port that is no number": "200 | 'GET /'",
        "Host with an open bracket": "200 | 'GET /'",
        "Host with a query": "200 | 'GET /'",
        "Host with a fragment": "200 | 'GET /'",
        "Host with a backslash": "200 | 'GET /'",
        "Host with quotes": "200 | 'GET /'",
    },
    (
        "It looks at Host more narrowly: one that is empty, or has a tab around it, is none. RFC "
        "9110 allows both."
    ): {
        "an empty Host": "400",
        "Host with tabs around": "400",
    },
    "It trims spaces around a value but not tabs, which RFC 9110 allows, too.": {
        "tabs around the length": "400",
    },
    "It takes the host from the target and never compares it with Host, and knows any scheme.": {
        "absolute form of another host": "200 | 'GET /'",
        "absolute form of another scheme": "200 | 'GET /'",
        "absolute form of another port": "200 | 'GET /'",
    },
    "It takes a fragment for a part of the path.": {
        "absolute form with a fragment": "200 | 'GET /#b'",
    },
    (
        "It resolves the path before it passes it on, and refuses what climbs out or holds NUL. "
        "gglib serves no files: paths are passed on as they are, and only exact ones have a "
        "route."
    ): {
        "a path that climbs": "400",
        "a path that climbs in disguise": "400",
        "a NUL in disguise": "400",
    },
    ("It knows neither expectations other than `100-continue` nor that they have to be refused."): {
        "an unknown expectation": "200 | 'POST / abc'",
        "a list of expectations": "200 | 'POST / abc'",
        "an empty expectation": "200 | 'POST / abc'",
        "an unknown expectation in HTTP/1.0": "200 | 'GET /'",
    },
    "It takes a second Expect for a duplicate that must not be; it says the same.": {
        "Expect twice": "400",
    },
    "It passes encoded bodies on. gglib has to read them, and says so.": {
        "gzip": "200 | 'POST / abc'",
        "br": "200 | 'POST / abc'",
        "identity, then gzip": "200 | 'POST / abc'",
        "gzip without a body": "200 | 'GET /'",
    },
    "It passes any method on, or has a word of its own for it. gglib knows seven.": {
        "no such method": "200 | 'FOO /'",
        "TRACE": "405",
        "PROPFIND": "200 | 'PROPFIND /'",
        "QUERY": "200 | 'QUERY /'",
        "CONNECT": "400",
        "CONNECT in absolute form": "405",
        "M-SEARCH": "400",
    },
    "It does not know the asterisk.": {
        "OPTIONS for the server": "400",
    },
    "It serves HTTP/0.9, any HTTP/1.x, and has other words for other versions.": {
        "HTTP/1.2": "200 | 'GET /'",
        "HTTP/1.10": "200 | 'GET /'",
        "HTTP/3.0": "505",
        "HTTP/0.9": " | 'GET /'",
        "HTTP/0.9 in one line": " | 'GET /'",
        "HTTP/0.9 with a version": "400",
        "SOURCE, of another protocol": "400",
        "RTSP": "400",
        "HTTP/2 with prior knowledge": "400",
        "an upgrade, then HTTP/2": "200 400 | 'GET /'",
    },
    "It takes any number of spaces between the parts of the start line, and behind it.": {
        "two spaces before the target": "200 | 'GET /'",
        "two spaces behind the target": "200 | 'GET /'",
        "a space behind the version": "200 | 'GET /'",
    },
    "Proxy-Connection is not known to it. gglib heeds a wish to close.": {
        "Proxy-Connection": "200 200 | 'GET /' | 'GET /'",
    },
    "It refuses a chunk for its size before it comes, gglib as soon as too much of it has.": {
        "a huge chunk that has not come": "400",
    },
    (
        "Its limits are others: it has buffers of a size for lines, none for how many there are, "
        "and none for what it skips; and it says 400."
    ): {
        "a header that is too long": "400",
        "a name that is too long": "400",
        "too many headers": "200 | 'GET /'",
        "headers that are too long together": "200 | 'GET /'",
        "a trailer that is too long": "200 | 'POST /'",
        "trailers that are too long together": "",
        "a head that is one byte too large": "200 | 'GET /'",
        "one header too many": "200 | 'GET /'",
        "a value behind too many spaces": "400",
        "a target that is too long, and a fault": "400",
        "an extension that is too long": "200 | 'POST / abc'",
        "an extension that is one byte too long": "200 | 'POST / abc'",
        "a chunk size of too many zeros": "200 | 'POST / abc'",
        "too many headers, then a fault": "400",
        "a body that is far too large": "400",
    },
}
