// Prints the timeline of a channel whenever it changes, while messages are written, edited and deleted.
//
//   node timeline.mjs ws://127.0.0.1:8080/ws

import WebSocket from 'ws';
import { connect } from 'seawall-client';
import { timeline } from 'seawall-client/timeline';

const client = connect(process.argv[2] ?? 'ws://127.0.0.1:8080/ws', { WebSocket });
const room = client.channel('lobby', { last: 10 });
const messages = timeline(client, room);

const line = ({ data, deleted, edited, pending }) =>
  (deleted ? 'deleted' : data.text) + (edited ? ' (edited)' : '') + (pending ? ` (${pending.state})` : '');

messages.subscribe(({ items }) => {
  console.log(items.filter(({ kind }) => kind === 'message').map(line).join(' | '));
  if (items.at(-1)?.deleted) client.close();
});

const { offset } = await room.publish({ text: 'helo' });
await room.publish({ text: 'hello' }, { edits: offset });
const mistake = await room.publish({ text: 'a mistake' });
await room.publish(null, { deletes: mistake.offset });
