// Publishes a message and receives it. Node 22 and later has a built-in WebSocket; older versions need the package ws.
//
//   node talk.mjs ws://127.0.0.1:8080/ws

import WebSocket from 'ws';
import { connect, newKey } from 'seawall-client';

const client = connect(process.argv[2] ?? 'ws://127.0.0.1:8080/ws', { WebSocket });
const room = client.channel('lobby', { last: 10 });

client.state.subscribe((state) => console.log(`connection: ${state.phase}`));

// Do not await this before the loop: publications that arrive during the wait would be missed.
const mine = newKey();
const published = room.publish({ text: 'hello' }, { key: mine });

for await (const { user, key, data } of room) {
  console.log(`${user}: ${data?.text}`);
  if (key === mine) break;
}
const { offset } = await published;
console.log(`stored at ${offset}`);
client.close();
