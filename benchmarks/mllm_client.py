"""The client's CPU time per request to a server, compared with a bare loop over httpx.

    python benchmarks/mllm_client.py [--requests 1000] [--concurrency 32] [--rounds 5] [--side 512]

A server in another process answers every chat completion at once with the same 20 log-probabilities. Ours is
``ServerBackend.level_logits``: build the request, send, check and read the reply. The other side posts bodies built
beforehand and parses the JSON of the replies, with one ``httpx.AsyncClient`` under a semaphore. Both run in turns, with
text alone and with one image of noise and gradients, which is the slowest to compress. Ours is measured with images
encoded beforehand, as on the other side; the time for PNG and base64 is measured separately. Seconds are CPU time of
the client's process, threads included, so that the server and other programs on the machine do not count.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import multiprocessing
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import httpx
import numpy as np
from PIL import Image

from lopsided.mllm.backends import Prompt, ServerBackend, sending
from lopsided.mllm.backends.chat_completions import chat_messages, png_base64

CANDIDATES = (" excellent", " good", " fair", " poor", " bad")
TOP = [
    {"token": word, "logprob": -1.0 - k, "bytes": None} for k, word in enumerate([*CANDIDATES, *map(str, range(15))])
]
REPLY = json.dumps(
    {
        "model": "fixed",
        "choices": [
            {
                "message": {"role": "assistant", "content": " excellent"},
                "logprobs": {"content": [{**TOP[0], "top_logprobs": TOP}]},
                "finish_reason": "length",
            }
        ],
        "usage": {"prompt_tokens": 300, "completion_tokens": 1},
    }
).encode()


class Answer(asyncio.Protocol):
    """HTTP/1.1 with persistent connections; it reads only the length of the body."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with the first request."""
        self.transport: Any = transport
        self.head, self.left = b"", 0

    def data_received(self, data: bytes) -> None:
        """Answer when a request is complete."""
        if not self.left:
            self.head += data
            head, end, body = self.head.partition(b"\r\n\r\n")
            if not end:
                return
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            self.head, self.left = b"", int(length.split(b":")[1]) - len(body)
        else:
            self.left -= len(data)
        if not self.left:
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(REPLY) + REPLY)


def serve(port: Connection) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Answer, "127.0.0.1", 0, backlog=1024)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


async def bare(url: str, bodies: list[bytes], concurrency: int) -> list[float]:
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=concurrency), timeout=60) as client:
        slots = asyncio.Semaphore(concurrency)

        async def post(body: bytes) -> float:
            async with slots:
                headers = {"Content-Type": "application/json"}
                response = await client.post(f"{url}/chat/completions", content=body, headers=headers)
                return response.json()["choices"][0]["logprobs"]["content"][0]["top_logprobs"][0]["logprob"]

        return await asyncio.gather(*map(post, bodies))


def cpu(work: Callable[[], object], requests: int) -> float:
    """Return milliseconds of CPU time per request."""
    began = time.process_time()
    work()
    return (time.process_time() - began) / requests * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, default=512)
    arguments = parser.parse_args()
    n = arguments.requests

    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 255, arguments.side)[None, :, None]
    image = Image.fromarray((ramp + rng.normal(0, 8, (arguments.side,) * 2 + (3,))).clip(0, 255).astype(np.uint8))
    context = multiprocessing.get_context("spawn")
    ours_end, server_end = context.Pipe()
    server = context.Process(target=serve, args=(server_end,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{ours_end.recv()}/v1"
    try:
        backend = ServerBackend(url, "fixed", concurrency=arguments.concurrency, logprobs="chat")
        for name, images in (("text alone", ()), (f"one image of {arguments.side}²", (image,))):
            prompt = Prompt(images, "How would you rate the quality of this image? Answer with one word.")
            encoded = [png_base64(shown) for shown in images]
            messages = chat_messages(prompt, [data.decode() for data in encoded])
            fields = {"max_tokens": 1, "logprobs": True, "top_logprobs": 20, "temperature": 1.0}
            body = json.dumps({"model": "fixed", "messages": messages, **fields}).encode()

            def ask(prompt: Prompt = prompt) -> None:
                results = backend.level_logits([prompt] * n, CANDIDATES)
                assert len(results) == n
                assert all(math.isclose(result.log_probabilities[0], -1) for result in results)

            def loop(body: bytes = body) -> None:
                assert asyncio.run(bare(url, [body] * n, arguments.concurrency)) == [-1.0] * n

            def encode(images: tuple[Image.Image, ...] = images) -> None:
                for _ in range(max(n // 10, 1)):
                    [png_base64(shown) for shown in images]

            sending.png_base64 = lambda _, encoded=encoded: encoded[0]
            ask()
            loop()
            spent = [(cpu(ask, n), cpu(loop, n)) for _ in range(arguments.rounds)]
            sending.png_base64 = png_base64
            ours, theirs = (statistics.median(side) for side in zip(*spent, strict=True))
            ratios = sorted(a / b for a, b in spent)
            print(f"{name}, {len(body) / 1000:.1f} kB per request, concurrency {arguments.concurrency}")
            print(f"  CPU per request: ours {ours:.2f} ms, bare httpx {theirs:.2f} ms")
            print(f"  ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
            print(f"  PNG and base64, on top: {cpu(encode, max(n // 10, 1)):.2f} ms")
    finally:
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
