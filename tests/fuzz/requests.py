"""Seeded requests in the shapes of attacks: multipart, chunked, headers, JSON and images, each good, broken or hostile.

A case is the bytes of one connection, in the pieces in which they are sent. The same seed gives the same cases.
"""

import json
import random
from collections.abc import Callable, Iterator

from tests.images import encode, picture

IMAGES = {kind: encode(picture(7, 64, 48), kind) for kind in ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")}
PATHS = [b"/forward"] * 30 + [
    b"/register",
    b"/token",
    b"/history",
    b"/stats",
    b"/health/live",
    b"/nothing",
    b"*",
    b"//",
]
METHODS = [b"POST"] * 60 + [b"GET", b"PUT", b"DELETE", b"OPTIONS", b"HEAD", b"PATCH", b"TRACE", b"XYZZY"]
NUMBERS = [b"0", b"-1", b"+1", b"0x10", b"1e9", b"99999999999999999999", b"", b" ", b"1,1", b"\xb2", b"007"]


def junk(rng: random.Random, most: int) -> bytes:
    return rng.randbytes(rng.randrange(most))


def damaged(rng: random.Random, content: bytes) -> bytes:
    """`content` cut, with bytes flipped, doubled or replaced."""
    changed = bytearray(content)
    for _ in range(rng.choice((0, 0, 1, 3, 20))):
        at = rng.randrange(len(changed) + 1)
        how = rng.randrange(4)
        if how == 0:
            del changed[at:]
        elif how == 1:
            changed[at : at + 4] = rng.randbytes(4)
        elif how == 2:
            changed[at:at] = changed[: rng.randrange(64)]
        else:
            changed[at : at + 1] = b"\r\n"
    return bytes(changed)


def some_json(rng: random.Random) -> bytes:
    kind = rng.randrange(6)
    if kind == 0:
        depth = rng.choice((10, 1000, 100_000))
        return rng.choice((b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth, b"[" * depth))
    if kind == 1:
        return b"1" * rng.choice((1, 400, 50_000))
    if kind == 2:
        return rng.choice(
            (b"NaN", b'"\\ud800"', b'"\xff"', b"\xef\xbb\xbf1", b'{"a":1,"a":2}', b'"\\u0000"', b"1e999999")
        )
    value = {str(i): rng.choice((None, "x" * i, i, [i], {"a": i}, "\u0416\u0000")) for i in range(rng.randrange(20))}
    return damaged(rng, json.dumps(value).encode())


def some_image(rng: random.Random) -> bytes:
    return damaged(rng, rng.choice(list(IMAGES.values())))


def multipart(rng: random.Random) -> tuple[bytes, bytes]:
    boundary = rng.choice((b"x", b"-" * 70, b"a b", b'"q"', b"", b"\xff", b"x" * 300))
    parts = []
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 200))):
        name = rng.choice((b"image", b"data", b"image", b"data", b"other", b"", b"\xff", b"n" * 10_000))
        lines = [b'Content-Disposition: form-data; name="%b"' % name]
        if rng.random() < 0.5:
            lines[0] += b'; filename="%b"' % rng.choice((b"a.jpg", b"", b"../../x", b"\x00", b'\\"', b"\xd0\xb6"))
        if rng.random() < 0.3:
            lines.append(b"Content-Type: " + rng.choice((b"image/jpeg", b"text/plain; charset=nope", junk(rng, 20))))
        if rng.random() < 0.1:
            lines += [b"X-%d: x" % i for i in range(rng.choice((5, 5000)))]
        content = some_image(rng) if rng.random() < 0.5 else some_json(rng)
        parts.append(b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary, b"\r\n".join(lines), content))
    end = rng.choice((b"--%b--\r\n", b"--%b--", b"--%b", b"%b", b"--%b--\r\ngarbage")) % boundary
    body = b"".join(parts) + end
    return b"multipart/form-data; boundary=" + boundary, damaged(rng, body) if rng.random() < 0.3 else body


def form(rng: random.Random) -> tuple[bytes, bytes]:
    body = rng.choice((b"data=", b"data=1&data=2", b"image=", b"&" * 1000, b"a=b&" * 500)) + rng.choice(
        (b"1", b"%7B%7D", b"%", b"%ff", junk(rng, 200))
    )
    return b"application/x-www-form-urlencoded", body


BODIES: tuple[Callable[[random.Random], tuple[bytes, bytes]], ...] = (
    multipart,
    multipart,
    form,
    lambda rng: (b"application/json", some_json(rng)),
    lambda rng: (rng.choice((b"image/jpeg", b"image/*", b"image/")), some_image(rng)),
    lambda rng: (junk(rng, 40), junk(rng, 2000)),
)


def chunked(rng: random.Random, body: bytes) -> bytes:
    """The body in chunks, now and then with a size, an extension or a trailer that is wrong."""
    sent = bytearray()
    while body:
        size = rng.choice((1, 7, 1000, 100_000))
        chunk, body = body[:size], body[size:]
        length = b"%x" % len(chunk)
        if rng.random() < 0.03:
            length = rng.choice((b"g", b"-1", b"f" * 17, b"0", b"1 ", b"", b"%x;%b" % (len(chunk), b"e" * 5000)))
        sent += length + rng.choice((b"\r\n",) * 30 + (b"\n", b"\r", b";a=b\r\n")) + chunk + b"\r\n"
        if len(sent) > 400_000:
            break
    return bytes(sent) + rng.choice((b"0\r\n\r\n",) * 8 + (b"0\r\nX: y\r\n\r\n", b"", b"0\r\n", b"00000000\r\n\r\n"))


def headers(rng: random.Random) -> list[bytes]:
    odd: list[bytes] = []
    if rng.random() < 0.2:
        odd.append(
            b"Authorization: "
            + rng.choice((b"Bearer x", b"Bearer", b"Basic eDp4", b"Bearer " + junk(rng, 60).hex().encode()))
        )
    if rng.random() < 0.2:
        odd.append(b"X-Request-ID: " + rng.choice((b"a", b"x" * 129, b"<script>", b"\xff", b"")))
    if rng.random() < 0.1:
        odd += rng.choice(
            (
                [b"X: " + b"x" * rng.choice((100, 40_000, 200_000))],
                [b"X-%d: y" % i for i in range(rng.choice((50, 5000)))],
                [b"Upgrade: websocket", b"Connection: Upgrade"],
                [b"Upgrade: h2c", b"Connection: Upgrade, HTTP2-Settings"],
                [b"Expect: 100-continue"],
                [b"Expect: something else"],
                [b"Transfer-Encoding: " + rng.choice((b"chunked", b"gzip, chunked", b"xchunked", b"chunked, x"))],
                [b"Content-Length: " + rng.choice(NUMBERS)],
                [b" folded: x"],
                [b"No colon"],
                [b"Bad name : x"],
                [b"Content-Encoding: gzip"],
                [b"Host: y"],
                [junk(rng, 100)],
            )
        )
    rng.shuffle(odd)
    return odd


def case(rng: random.Random) -> list[bytes]:
    """One connection's bytes, in pieces."""
    content_type, body = rng.choice(BODIES)(rng)
    query = rng.choice((b"",) * 6 + (b"?top_k=3", b"?top_k=0", b"?top_k=%ff", b"?top_k=1&top_k=2", b"?" + b"a" * 3000))
    target = rng.choice(PATHS) + query
    if rng.random() < 0.03:
        target = junk(rng, 50)
    version = rng.choice((b"HTTP/1.1",) * 20 + (b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9", b""))
    lines = [b"%b %b %b" % (rng.choice(METHODS), target, version), b"Host: x", b"Content-Type: " + content_type]
    lines += headers(rng)
    if rng.random() < 0.3:
        lines.append(b"Transfer-Encoding: chunked")
        body = chunked(rng, body)
    else:
        lines.append(b"Content-Length: " + (rng.choice(NUMBERS) if rng.random() < 0.05 else b"%d" % len(body)))
    lines.append(b"Connection: " + rng.choice((b"close",) * 9 + (b"keep-alive",)))
    sent = b"\r\n".join(lines) + b"\r\n\r\n" + body
    if rng.random() < 0.1:
        sent += rng.choice((b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", junk(rng, 300)))
    if rng.random() < 0.05:
        sent = sent[: rng.randrange(1, len(sent) + 1)]
    cuts = sorted(rng.randrange(len(sent)) for _ in range(rng.choice((0, 0, 0, 1, 3))))
    return [piece for piece in (sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)) if piece]


def cases(seed: int, number: int) -> Iterator[list[bytes]]:
    """`number` cases; each can be made again alone from its place."""
    for place in range(number):
        yield case(random.Random(f"{seed}-{place}"))
