"""Hostile files and raw connections, for test_requests.py."""

import io
import socket
import struct
import time
import zipfile
import zlib

from PIL import Image

SVG = b"""<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><script>alert(1)</script><text>&x;</text></svg>"""


def gif(frames: int) -> bytes:
    data = io.BytesIO()
    pictures = [Image.new("P", (16, 16), number % 256) for number in range(frames)]
    pictures[0].save(data, "GIF", save_all=True, append_images=pictures[1:], optimize=False, disposal=0)
    return data.getvalue()


def png_bomb(side_px: int) -> bytes:
    """A PNG of a few kilobytes that would become side_px² pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + side_px // 8)
    pixels = b"".join(packer.compress(row) for _ in range(side_px)) + packer.flush()
    header = struct.pack(">IIBBBBB", side_px, side_px, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def jpeg_of_sides(data: bytes, side_px: int) -> bytes:
    """`data`, a JPEG, with other sides in its frame header than its pixels have."""
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", side_px, side_px) + data[at + 9 :]


def zipped(data: bytes) -> bytes:
    """An image that is a zip archive as well: the one is read from its beginning, the other from its end."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("evil.py", "import os")
    return data + made.getvalue()


def with_script(data: bytes) -> bytes:
    """A JPEG whose comment is a web page."""
    page = b"<html><script>alert(document.domain)</script></html>"
    return data[:2] + b"\xff\xfe" + struct.pack(">H", len(page) + 2) + page + data[2:]


def head(path: str, host: str, key: str, *lines: str) -> bytes:
    return "\r\n".join((f"POST {path} HTTP/1.1", f"Host: {host}", f"X-API-Key: {key}", *lines, "", "")).encode()


class Connection:
    """A raw connection to the server of a URL."""

    def __init__(self, url: str, timeout_s: float = 20) -> None:
        self.host = url.removeprefix("http://")
        name, port = self.host.split(":")
        self._socket = socket.create_connection((name, int(port)), timeout_s)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def drip(self, for_s: float) -> None:
        """One byte every tenth of a second until the other side has had enough."""
        end_s = time.monotonic() + for_s
        self._socket.settimeout(0.1)
        while time.monotonic() < end_s:
            try:
                self._socket.sendall(b"x")
                if self._socket.recv(1, socket.MSG_PEEK) is not None:
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        self._socket.settimeout(20)

    def status(self) -> int:
        """Of the answer; 0 when the connection was closed without one."""
        answer = b""
        while b"\r\n" not in answer:
            part = self._socket.recv(65536)
            if not part:
                return 0
            answer += part
        return int(answer.split()[1])

    def close(self) -> None:
        self._socket.close()
