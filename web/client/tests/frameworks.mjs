// Holds clients, channels and timelines in the state of other libraries and uses them there. Run by guides.test.ts with `--conditions=browser`
// and the folder of the blocks of docs/sdk.md, after the tests were compiled.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { produce } from 'immer';
import { autorun, makeAutoObservable, observable } from 'mobx';
import { createRoot } from 'solid-js';
import { createStore } from 'solid-js/store';
import { compileModule } from 'svelte/compiler';
import { connect } from '../.tests/src/index.js';
import { timeline } from '../.tests/src/timeline.js';
import { Server } from '../.tests/tests/fakes.js';
import { until } from '../.tests/tests/gateway.js';

const folder = process.argv[2];
const load = (name) => import(pathToFileURL(join(folder, name)));

writeFileSync(join(folder, 'hold.mjs'), compileModule('export function hold(all) { const held = $state(all); return held; }', { filename: 'hold.svelte.js' }).js.code);
const { hold } = await load('hold.mjs');

/** Each returns an object with these members as the library holds them. */
const HOLDERS = {
  nothing: (all) => all,
  'MobX, observable': (all) => observable(all),
  'MobX, a class': (all) => new class {
    constructor() { makeAutoObservable(Object.assign(this, all)); }
  }(),
  Immer: (all) => produce({}, (draft) => Object.assign(draft, all)),
  Solid: (all) => createStore(all)[0],
  Svelte: (all) => hold(all),
};

let count = 0;
for (const [name, held] of Object.entries(HOLDERS)) {
  const server = new Server();
  const client = connect('ws://gateway.example/ws', { WebSocket: server.Socket });
  const room = client.channel('c');
  const messages = timeline(client, room);
  const objects = { client, room, messages, outbox: client.outbox, state: client.state };
  // Values are held too, before and after they change, and may be frozen or marked by the library.
  const values = () => ({ phase: client.state.value, entries: client.outbox.value, items: messages.value, status: client.status.value, joined: room.state.value });
  const it = held({ ...objects, values: values() });
  for (const key of Object.keys(objects)) assert.equal(it[key], objects[key], `${name} holds the same ${key}`);
  const heard = [];
  it.room.on('publication', ({ data }) => heard.push(data.text));
  await until(`${name}: live`, () => it.room.state.value.phase === 'live');
  server.answers = false;
  const published = it.room.publish({ text: 'a' }, { key: 'k' });
  held({ values: values() });
  const { key } = it.outbox.value[0];
  server.answers = true;
  // The socket is lost, so the held entry is sent again.
  server.sockets[0].lost();
  await published;
  held({ values: values() });
  server.sockets.at(-1).deliver({ publication: { channel: 'c', offset: 1, key, user: 'anonymous', time: 1, data: { text: 'a' } } });
  assert.deepEqual([heard, it.messages.value.items.map(({ id }) => id), it.client.outbox.value], [['a'], ['kk'], []], name);
  assert.equal(it.messages.read().offset, it.room.cursor.offset);
  it.room.leave();
  it.client.close();
  count += 1;
}
console.log(`held: ${count}`);

/** Each follows an observable with the block of the guide, and returns the phases that were seen. */
const [mobx, svelte, solid, immer] = await Promise.all(['mobx', 'svelte', 'solid-js', 'immer'].map((name) => load(`${name}.mjs`)));
const FOLLOWERS = {
  MobX: (client, seen) => autorun(() => seen(mobx.valueOf(client.state).get().phase)),
  Svelte: (client, seen) => svelte.valueOf(client.state).subscribe(({ phase }) => seen(phase)),
  Solid: (client, seen) => createRoot(() => {
    const value = solid.valueOf(client.state);
    seen(value().phase);
    client.state.subscribe(() => seen(value().phase));
  }),
  Immer: (client, seen) => {
    let state = { outbox: client.outbox.value };
    const note = () => seen(state.outbox.length > 0 ? 'online' : 'connecting');
    note();
    immer.follow(client, (update) => {
      state = update(state);
      note();
    });
    void client.channel('c').publish(1);
  },
};
let followed = 0;
for (const [name, follow] of Object.entries(FOLLOWERS)) {
  const client = connect('ws://gateway.example/ws', { WebSocket: new Server().Socket });
  const phases = new Set();
  follow(client, (phase) => phases.add(phase));
  await until(`${name} sees the change`, () => phases.has('online'));
  assert.deepEqual([...phases], ['connecting', 'online'], name);
  client.close();
  followed += 1;
}
console.log(`followed: ${followed}`);
