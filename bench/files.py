"""Result files, served at the pace of a provider: each download gets so many bytes a second, whoever else reads."""

import asyncio
import sys

import uvloop

FILE_BYTES = 1500 * 1024
# Of each download; four at once make 10 MB a second.
BYTES_A_SECOND = 2_500_000
PIECE = 64 * 1024
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n\x89PNG\r\n\x1a\n" % FILE_BYTES


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        left, due, piece = FILE_BYTES - 8, loop.time(), bytes(PIECE)
        while left > 0:
            writer.write(piece[:left])
            await writer.drain()
            left -= PIECE
            due += PIECE / BYTES_A_SECOND
            await asyncio.sleep(due - loop.time())
    except (ConnectionError, asyncio.IncompleteReadError):
        pass  # the service is stopped in the middle of a copy
    finally:
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main())
