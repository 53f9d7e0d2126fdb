// An HTTP server that publishes what it is sent, for programs that speak HTTP alone. SIGTERM ends it.
//
//   node server.mjs ws://127.0.0.1:8080/ws 8090
//   curl -i -X POST -H 'Idempotency-Key: order-1' -d 'paid' http://127.0.0.1:8090/lobby

import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import WebSocket from 'ws';
import { connect, newKey, SeawallError } from 'seawall-client';

const client = connect(process.argv[2] ?? 'ws://127.0.0.1:8080/ws', { WebSocket, client: 'example-server/1' });
client.state.subscribe(({ phase, because }) => console.error(`connection: ${phase} ${because?.message ?? ''}`));

/** The failures that are the caller's. */
const STATUS = { invalid: 400, too_large: 413, forbidden: 403, key_conflict: 409 };

const server = createServer(async (request, response) => {
  const answer = (status, body) => response.writeHead(status, { 'Content-Type': 'application/json' }).end(`${JSON.stringify(body)}\n`);
  if (request.method !== 'POST') return answer(405, { message: 'POST a text to the path of a channel' });
  const key = request.headers['idempotency-key'] ?? newKey();
  try {
    const room = client.channel(decodeURIComponent(request.url.slice(1)));
    // Through an outage this waits, and the message is sent once the gateway is back. A caller that gives up may repeat it with its key.
    const sent = room.publish({ text: await text(request) }, { key });
    room.leave(); // it only publishes
    const { offset, duplicate } = await sent;
    answer(200, { offset, duplicate });
  } catch (error) {
    const code = error instanceof SeawallError ? error.code : 'invalid';
    // The caller has the failure, so it need not stay in the outbox.
    if (client.outbox.value.some((entry) => entry.key === key && entry.state === 'failed')) client.outbox.discard(key);
    answer(STATUS[code] ?? 503, { code, message: error.message });
  }
});

server.listen(Number(process.argv[3] ?? 8090), '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
process.once('SIGTERM', () => {
  server.close();
  client.close();
});
