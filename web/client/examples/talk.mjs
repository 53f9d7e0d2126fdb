// Publishes and reads along. Node 22 and later has a WebSocket of its own; before that it is the package ws.
//
//   node talk.mjs ws://127.0.0.1:8080/ws

import WebSocket from 'ws';
import { connect, newKey } from 'seawall-client';

const client = connect(process.argv[2], { WebSocket });
const room = client.channel('lobby', { last: 10 });

client.state.subscribe((state) => console.log(`connection: ${state.phase}`));

// Not awaited before the loop: who waits first and listens then misses what comes meanwhile.
const mine = newKey();
const published = room.publish({ text: 'hello' }, { key: mine });

for await (const { user, key, data } of room) {
  console.log(`${user}: ${data.text}`);
  if (key === mine) break;
}
const { offset } = await published;
console.log(`stored at ${offset}`);
client.close();
