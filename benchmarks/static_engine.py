"""An engine that costs nothing: nginx with a constant answer, behind llama-server's command line.

What a relay can do at most shows only in front of an upstream that is faster than it. Run as
`python -m benchmarks.static_engine <llama-server flags>`; becomes nginx.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

ANSWER = json.dumps(
    {
        "id": "chatcmpl-static",
        "object": "chat.completion",
        "model": "model-a",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "one two three four"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
    },
    separators=(",", ":"),
)

_CONFIGURATION = """
worker_processes 1; daemon off; pid {directory}/nginx.pid; error_log stderr error;
events {{ worker_connections 8192; }}
http {{
  access_log off; default_type application/json;
  keepalive_requests 100000000; keepalive_timeout 3600;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  {servers}
}}
"""
_ENGINE = """
  map $http_authorization $is_ours {{ default 0; "Bearer {key}" 1; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /health {{ return 200 '{{"status":"ok"}}'; }}
    location = /props {{
      if ($is_ours = 0) {{ return 401; }}
      return 200 '{{"model_alias":"{alias}"}}';
    }}
    location / {{ return 200 '{answer}'; }}
  }}
"""
_PROXY = """
  upstream engine {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096; client_max_body_size 64m;
    location / {{
      proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
"""


def nginx_command(servers: str) -> list[str]:
    """The command that runs nginx with these `server` blocks, in a directory that it keeps."""
    directory = tempfile.mkdtemp(prefix="gglib-bench-nginx-")
    path = Path(directory) / "nginx.conf"
    path.write_text(_CONFIGURATION.format(directory=directory, servers=servers))
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin") or "nginx"
    return [nginx, "-c", str(path), "-p", directory, "-e", "stderr"]


def has_nginx() -> bool:
    return (shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")) is not None


def proxy_command(port: int, upstream: int) -> list[str]:
    """The command that runs nginx as a relay: one worker, keep-alive both ways."""
    return nginx_command(_PROXY.format(port=port, upstream=upstream))


def engine_command(port: int, alias: str, key: str) -> list[str]:
    servers = _ENGINE.format(port=port, alias=alias, key=key, answer=ANSWER)
    return nginx_command(servers)


def main() -> None:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--alias", required=True)
    flags, _ = parser.parse_known_args()
    command = engine_command(flags.port, flags.alias, os.environ.get("LLAMA_API_KEY", ""))
    sys.stdout.flush()
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
