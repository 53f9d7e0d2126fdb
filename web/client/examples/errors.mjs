// Handles a rejected publish and the failed outbox entry that it leaves.
//
//   node errors.mjs ws://127.0.0.1:8080/ws

import WebSocket from 'ws';
import { connect, SeawallError } from 'seawall-client';

const client = connect(process.argv[2] ?? 'ws://127.0.0.1:8080/ws', { WebSocket });
const room = client.channel('lobby');

try {
  await room.publish({ text: 'better' }, { edits: 123456 });
} catch (error) {
  if (!(error instanceof SeawallError)) throw error;
  console.log(`${error.code}: ${error.message}`);
}

// The failed entry stays in the outbox, where an app shows it, until it is retried or discarded.
for (const entry of client.outbox.value) {
  console.log(`${entry.state}: ${JSON.stringify(entry.data)}, ${entry.error.code}`);
  if (entry.error.code === 'not_found') client.outbox.discard(entry.key);
  else client.outbox.retry(entry.key);
}
console.log(`left: ${client.outbox.value.length}`);
client.close();
