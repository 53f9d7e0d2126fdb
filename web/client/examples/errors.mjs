// What errors look like, and what to do with them.
//
//   node errors.mjs ws://127.0.0.1:8080/ws

import WebSocket from 'ws';
import { connect, SeawallError } from 'seawall-client';

const client = connect(process.argv[2], { WebSocket });
const room = client.channel('lobby');

try {
  await room.publish({ text: 'better' }, { edits: 123456 });
} catch (error) {
  if (!(error instanceof SeawallError)) throw error;
  console.log(`${error.code}: ${error.message}`);
}

// It stays in the outbox, to be shown, until somebody decides.
for (const entry of client.outbox.value) {
  console.log(`${entry.state}: ${JSON.stringify(entry.data)}, ${entry.error.code}`);
  if (entry.error.code === 'not_found') client.outbox.discard(entry.key);
  else client.outbox.retry(entry.key);
}
console.log(`left: ${client.outbox.value.length}`);
client.close();
