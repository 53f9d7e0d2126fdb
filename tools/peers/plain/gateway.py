"""A chat gateway as a first version usually is: it does the right thing while all of its services work.

One table in PostgreSQL, one call of the auth service for each connection, one set of members. What fails raises an exception, which
the library answers with close 1011 without a text. There are no timeouts but the library's own pings, and no retries. On SIGTERM it
closes its connections with 1001, as the library does. Needs python3-websockets and python3-psycopg2.
"""

import argparse
import asyncio
import json
import logging
import signal
import urllib.request

import psycopg2.pool
import websockets


class Gateway:
    def __init__(self, store, auth):
        self.pool = psycopg2.pool.ThreadedConnectionPool(1, 16, store)
        self.auth = auth
        self.members = set()

    def user(self, token):
        """The user of a token, or None."""
        with urllib.request.urlopen(self.auth, data=f"token={token}".encode()) as response:
            answer = json.load(response)
        return answer.get("sub") if answer["active"] else None

    def store(self, user, text):
        """Stores a message and returns its number."""
        connection = self.pool.getconn()
        good = False
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("INSERT INTO messages (author, text) VALUES (%s, %s) RETURNING id", (user, text))
                number = cursor.fetchone()[0]
            good = True
            return number
        finally:
            self.pool.putconn(connection, close=not good)

    def prepare(self):
        connection = self.pool.getconn()
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS messages (id bigserial PRIMARY KEY, author text, text text)")
        self.pool.putconn(connection)

    async def serve(self, socket):
        loop = asyncio.get_running_loop()
        token = json.loads(await socket.recv())["token"]
        user = await loop.run_in_executor(None, self.user, token)
        if user is None:
            await socket.close(4401, "the token is not valid")
            return
        self.members.add(socket)
        try:
            await socket.send(json.dumps({"connected": {"user": user}}))
            async for frame in socket:
                message = json.loads(frame)
                number = await loop.run_in_executor(None, self.store, user, message["text"])
                await socket.send(json.dumps({"id": message["id"], "published": number}))
                websockets.broadcast(self.members, json.dumps({"from": user, "text": message["text"]}))
        finally:
            self.members.discard(socket)


async def main(chosen):
    gateway = Gateway(chosen.store, chosen.auth)
    gateway.prepare()
    stop = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set_result, None)
    async with websockets.serve(gateway.serve, "127.0.0.1", chosen.port, max_queue=8):
        print(f"ws://127.0.0.1:{chosen.port}/ws", flush=True)
        await stop


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--store", required=True, help="the URL of the PostgreSQL database")
    parser.add_argument("--auth", required=True, help="the URL that tells the user of a token")
    logging.disable(logging.CRITICAL)
    asyncio.run(main(parser.parse_args()))
