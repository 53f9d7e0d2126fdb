// Prints what the app's backend sends to one user, who may have several devices.
//
//   node personal.mjs ws://127.0.0.1:8080/ws TOKEN 3

import WebSocket from 'ws';
import { connect } from 'seawall-client';

const [url, token, many] = process.argv.slice(2);
if (!url || !token) {
  console.error('usage: node personal.mjs URL TOKEN [MANY]');
  process.exit(2);
}
const client = connect(url, { WebSocket, token });
let seen = 0;

const stop = client.state.subscribe(({ phase }) => {
  if (phase !== 'online') return;
  stop();
  if (client.personal === undefined) throw new Error('auth is off: the gateway knows no users');
  const inbox = client.channel(client.personal, { last: 50 });
  inbox.on('publication', ({ user, data }) => {
    console.log(`${user}: ${data?.text}`);
    if (++seen === Number(many)) client.close();
  });
  console.log(`waiting for messages to ${client.personal}`);
});
