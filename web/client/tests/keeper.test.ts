/** The outbox keeper: storage that works, fails or hangs, and tabs that open and close. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import 'fake-indexeddb/auto';
import { durable } from '../src/durable.js';
import type { Client } from '../src/index.js';
import { client, Locks, online, quick, Server, Shelf } from './fakes.js';
import { until } from './gateway.js';

test('an entry is stored before it is sent, and removed once it is acknowledged', async (t) => {
  const server = new Server();
  const shelf = new Shelf();
  const seen: string[] = [];
  const put = shelf.put.bind(shelf);
  shelf.put = async (entry) => {
    seen.push(`put ${server.sockets[0]!.sent.some((frame) => 'publish' in frame)}`);
    await put(entry);
  };
  const it = client(t, server, { outbox: durable({ storage: shelf, locks: null }) });
  await online(it);
  await it.channel('c').publish({ text: 'hi' }, { key: 'k' });
  await until('removed', () => shelf.entries.length === 0);
  assert.deepEqual([seen, it.outbox.storage.value], [['put false'], 'durable']);
});

test('sending continues and `storage` is memory after storage failed', async (t) => {
  const server = new Server();
  const shelf = new Shelf();
  shelf.broken = true;
  const it = client(t, server, { outbox: durable({ storage: shelf, locks: null }) });
  await it.channel('c').publish(1);
  assert.equal(it.outbox.storage.value, 'memory');
});

for (const hangs of ['all', 'writes'] as const) {
  test(`storage that never answers (${hangs}) is treated as failed`, async (t) => {
    const server = new Server();
    const shelf = new Shelf();
    shelf.hangs = hangs;
    const it = client(t, server, { outbox: durable({ storage: shelf, locks: null }), clock: quick });
    const room = it.channel('c');
    let done = 0;
    const publish = (n: number) => void room.publish(n).then(() => { done += 1; });
    for (let n = 0; n < 30; n += 1) publish(n);
    await until('all are sent', () => done === 30, 1_000);
    publish(30);
    await until('pending removals block nothing', () => done === 31, 1_000);
    assert.equal(it.outbox.storage.value, 'memory');
  });
}

test('IndexedDB: unsent entries are sent in order after a reload', async (t) => {
  const server = new Server();
  server.answers = false;
  const locks = new Locks();
  const before = locks.tab();
  const first = client(t, server, { outbox: durable({ name: 'reload', locks: before.locks }) });
  const room = first.channel<number>('c');
  for (let n = 0; n < 10; n += 1) room.publish(n).catch(() => {});
  await until('durable', () => first.outbox.storage.value === 'durable');
  await until('the first is sent', () => first.outbox.value[0]?.state === 'sending');
  await until('all are kept', () => first.outbox.value.every((one) => (one as { saved?: boolean }).saved));
  first.close();
  before.die();
  server.answers = true;
  const second = client(t, server, { outbox: durable({ name: 'reload', locks: locks.tab().locks }) });
  void second.channel('c').publish('typed after the reload');
  await until('all are sent', () => server.stored.length === 11);
  assert.deepEqual(server.stored.map((one) => one.data), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 'typed after the reload']);
});

test('each tab sends its own entries, and one other tab takes over those of a closed tab', async (t) => {
  const server = new Server();
  server.accepts = false;
  const shelf = new Shelf();
  const locks = new Locks();
  const tabs = [locks.tab(), locks.tab(), locks.tab()];
  const [one, two, three] = tabs.map((tab) => client(t, server, { outbox: durable({ storage: shelf, locks: tab.locks }), clock: quick })) as [Client, Client, Client];
  for (let n = 0; n < 5; n += 1) {
    one.channel('c').publish(`one ${n}`).catch(() => {});
    two.channel('c').publish(`two ${n}`).catch(() => {});
  }
  await until('kept', () => shelf.entries.length === 10);
  assert.deepEqual([one, two, three].map((tab) => tab.outbox.value.length), [5, 5, 0], 'an open tab keeps its own');
  one.close();
  tabs[0]!.die();
  await until('taken over by one tab', () => two.outbox.value.length + three.outbox.value.length === 10);
  assert.equal(new Set(shelf.entries.map((entry) => entry.owner)).size, three.outbox.value.length ? 2 : 1);
  server.accepts = true;
  await until('sent', () => server.stored.length === 10);
  for (const name of ['one', 'two']) {
    const typed = server.stored.map((one) => one.data as string).filter((data) => data.startsWith(name));
    assert.deepEqual(typed, [0, 1, 2, 3, 4].map((n) => `${name} ${n}`));
  }
  await until('nothing is left', () => shelf.entries.length === 0);
});

test('a failed entry is still listed after a reload, and not sent again automatically', async (t) => {
  const server = new Server();
  const shelf = new Shelf();
  shelf.entries = [{ outbox: 'o', owner: 'x', key: 'k', order: 1, channel: 'c', json: '{"a":1}', at: Date.now(), error: { code: 'forbidden', message: 'no' } }];
  const it = client(t, server, { outbox: durable({ storage: shelf, locks: null }) });
  await until('restored', () => it.outbox.value.length === 1);
  await online(it);
  const { state, error, data } = it.outbox.value[0]!;
  assert.deepEqual([state, error!.code, data, server.stored], ['failed', 'forbidden', { a: 1 }, []]);
  it.outbox.retry('k');
  await until('sent', () => server.stored.length === 1);
});

test('entries of a page that is still closing are taken over as soon as it is gone', async (t) => {
  const server = new Server();
  server.accepts = false;
  const shelf = new Shelf();
  const locks = new Locks();
  const [before, after] = [locks.tab(), locks.tab()];
  const first = client(t, server, { outbox: durable({ storage: shelf, locks: before.locks }) });
  first.channel('c').publish(1).catch(() => {});
  await until('kept', () => shelf.entries.length === 1);
  const second = client(t, server, { outbox: durable({ storage: shelf, locks: after.locks }) });
  await until('second looked', () => second.outbox.storage.value === 'durable');
  assert.equal(second.outbox.value.length, 0);
  before.die();
  await until('taken over', () => second.outbox.value.length === 1, 5_000);
});

test('a client that is closed for good takes over no entries until it reconnects', async (t) => {
  const server = new Server();
  const shelf = new Shelf();
  const locks = new Locks();
  const it = client(t, server, { outbox: durable({ name: 'o', storage: shelf, locks: locks.tab().locks }), clock: quick });
  await online(it);
  await until('durable', () => it.outbox.storage.value === 'durable');
  server.sockets[0]!.lost(4503, 'forbidden');
  let looks = 0;
  const load = shelf.load.bind(shelf);
  shelf.load = async () => { looks += 1; return load(); };
  shelf.entries = [{ outbox: 'o', owner: 'gone', key: 'k', order: 1, channel: 'c', json: '1', at: Date.now() }];
  await until('the entry has been seen', () => looks >= 4);
  assert.deepEqual([it.outbox.value.length, shelf.entries[0]!.owner], [0, 'gone']);
  it.reconnect();
  await until('sent once it can be', () => server.stored.length === 1);
});

test('a takeover of many entries may take longer than one storage timeout', async (t) => {
  const server = new Server();
  const shelf = new Shelf();
  const put = shelf.put.bind(shelf);
  // 30 writes, each a tenth of the timeout for one.
  shelf.put = async (entry) => {
    await new Promise((resolve) => setTimeout(resolve, 10));
    await put(entry);
  };
  const name = 'wss://gateway.example/';
  shelf.entries = Array.from({ length: 30 }, (_, n) => ({ outbox: name, owner: 'gone', key: `k${n}`, order: n + 1, channel: 'c', json: `${n}`, at: Date.now() }));
  const it = client(t, server, { outbox: durable({ name, storage: shelf, locks: new Locks().tab().locks }), clock: quick });
  await until('all are sent', () => server.stored.length === 30);
  assert.deepEqual([it.outbox.storage.value, server.stored.map((one) => one.data)], ['durable', Array.from({ length: 30 }, (_, n) => n)]);
});

test('IndexedDB: the database is opened again after its connection ended or blocked a deletion', async (t) => {
  const server = new Server();
  const it = client(t, server, { outbox: durable({ name: 'reopened', locks: null }) });
  await online(it);
  await it.channel('c').publish(1);
  const lost = t.mock.method(IDBDatabase.prototype, 'transaction', () => { throw new Error('Connection to Indexed Database server lost'); }, { times: 1 });
  await it.channel('c').publish(2);
  assert.equal(lost.mock.callCount() > 0, true);
  lost.mock.restore();
  // The app deletes the database, for example at sign-out.
  await new Promise<void>((resolve, reject) => {
    const request = indexedDB.deleteDatabase('seawall');
    request.onsuccess = () => resolve();
    request.onblocked = () => reject(new Error('the open connection blocks the deletion'));
  });
  await it.channel('c').publish(3);
  assert.deepEqual([it.outbox.storage.value, server.stored.length], ['durable', 3]);
});
