"""nginx as a relay, for tests that compare it with gglib; `nginx_version` says if it is there."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.http1_corpus import MAX_BODY_BYTES

WAIT_SECONDS = 20.0
_CONFIG = """
daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/error.log crit;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    client_header_buffer_size 1k; large_client_header_buffers 2 2k;
    client_max_body_size {max_body_bytes};
    upstream engine {{ server 127.0.0.1:{port}; keepalive 4; }}
    server {{
        listen unix:{directory}/nginx.sock;
        location / {{
            proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_ignore_client_abort on;
        }}
    }}
}}
"""


def nginx_path() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def nginx_version() -> str | None:
    """Such as `1.22`; None where there is no nginx."""
    binary = nginx_path()
    if binary is None:
        return None
    said = subprocess.run([binary, "-v"], capture_output=True, text=True, check=True).stderr
    return ".".join(said.rpartition("/")[2].split(".")[:2])


@asynccontextmanager
async def open_nginx(directory: Path, port: int) -> AsyncIterator[str]:
    """Relay to `port`; yields the path of nginx's socket. It runs as who runs the test."""
    config = directory / "nginx.conf"
    config.write_text(_CONFIG.format(directory=directory, port=port, max_body_bytes=MAX_BODY_BYTES))
    binary = nginx_path()
    assert binary is not None
    arguments = ["-c", str(config), "-p", str(directory), "-e", str(directory / "error.log")]
    process = await asyncio.create_subprocess_exec(binary, *arguments)
    try:
        path = str(directory / "nginx.sock")
        await _listening(path, process)
        yield path
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _listening(path: str, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            assert process.returncode is None, "nginx ended: see error.log"
            try:
                _, writer = await asyncio.open_unix_connection(path)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return


async def ask_nginx(path: str, data: bytes) -> bytes:
    """Send bytes and the end; returns all that comes back."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(data)
        writer.write_eof()
        async with asyncio.timeout(WAIT_SECONDS):
            return await _all_of(reader)
    finally:
        writer.close()


async def _all_of(reader: asyncio.StreamReader) -> bytes:
    """To the end; a reset, of bytes that nginx left unread, is one too."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := await reader.read(1 << 16):
            data += piece
    return data
