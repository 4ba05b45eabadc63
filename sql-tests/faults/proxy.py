"""An HTTP proxy in front of an object store that fails now and then, as object stores do."""

import asyncio
import collections
import random
import threading

ERRORS = ["500 Internal Server Error", "503 Slow Down", "429 Too Many Requests"]
ERROR_SHARE, CUT_SHARE, DELAY_SHARE = 0.05, 0.02, 0.05
DELAY_SECONDS = (0.2, 2)


class FlakyProxy:
    """Passes requests on, one a connection. While `chance` is set, it decides which go wrong; `troubles` counts them."""

    def __init__(self, target_port):
        self.target_port = target_port
        self.chance, self.troubles = None, collections.Counter()
        self.loop = asyncio.new_event_loop()
        self.server = self.loop.run_until_complete(asyncio.start_server(self.serve, "127.0.0.1", 0))
        self.port = self.server.sockets[0].getsockname()[1]
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def begin_troubles(self, seed):
        self.troubles.clear()
        self.chance = random.Random(seed)

    def end_troubles(self):
        self.chance = None

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)

    async def serve(self, reader, writer):
        try:
            head, body = await read_request(reader)
            trouble = self.trouble(head)
            if trouble == "delay":
                await asyncio.sleep(self.chance.uniform(*DELAY_SECONDS) if self.chance else 0)
            if trouble in ERRORS:
                writer.write(f"HTTP/1.1 {trouble}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            else:
                answer = await self.pass_on(head, body)
                writer.write(cut(answer) if trouble == "cut" else answer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # One side has gone.
        finally:
            writer.close()

    def trouble(self, head):
        """What shall go wrong with this request; None for nothing."""
        if self.chance is None or not head.startswith(b"GET "):
            return None
        number = self.chance.random()
        shares = [(ERROR_SHARE, self.chance.choice(ERRORS)), (CUT_SHARE, "cut"), (DELAY_SHARE, "delay")]
        for share, trouble in shares:
            if number < share:
                self.troubles[trouble.split()[0]] += 1
                return trouble
            number -= share
        return None

    async def pass_on(self, head, body):
        """The whole answer of the store."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        try:
            lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
            writer.write(b"\r\n".join([lines[0], b"Connection: close", *lines[1:]]) + body)
            await writer.drain()
            return await reader.read()
        finally:
            writer.close()


async def read_request(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:] if b":" in line)
    return head, await reader.readexactly(int(fields.get(b"content-length", 0)))


def cut(answer):
    """The head, which announces all, and half of the body."""
    at = answer.index(b"\r\n\r\n") + 4
    return answer[: at + (len(answer) - at) // 2]
