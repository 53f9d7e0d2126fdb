/** The outbox keeper: storage that works, fails or hangs, and tabs that open and close. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import 'fake-indexeddb/auto';
import { durable } from '../src/durable.js';
import type { Client, StoredEntry } from '../src/index.js';
import { jwt } from './bench.js';
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

/** An entry as version 0.1.0 stored it, in the default outbox. */
const old = (key: string, user?: string): StoredEntry =>
  ({ outbox: 'ws://gateway.example/ws', owner: 'gone', key, order: 1, channel: 'c', json: `"${key}"`, at: Date.now(), user });

const texts = (it: Client) => it.outbox.value.map((entry) => entry.data);

for (const withLocks of [true, false]) {
  test(`what one account wrote is neither shown to another nor sent as it, ${withLocks ? 'with' : 'without'} locks`, async (t) => {
    const [shelf, locks] = [new Shelf(), new Locks()];
    const open = (server: Server, token: string | (() => string)) => {
      const tab = locks.tab();
      const it = client(t, server, { token, outbox: durable({ storage: shelf, locks: withLocks ? tab.locks : null }), clock: quick });
      return { it, end: () => { it.close(); tab.die(); } };
    };
    const away = new Server();
    away.accepts = false;
    const first = open(away, jwt('ann'));
    first.it.channel('c').publish('by ann').catch(() => {});
    await until('stored', () => shelf.entries.length === 1);
    assert.equal(shelf.entries[0]!.outbox, 'ws://gateway.example/ws ann', "the outbox's name includes the user");
    first.end();
    const [annServer, bobServer] = [new Server(), new Server()];
    Object.assign(annServer, { user: 'ann' });
    Object.assign(bobServer, { user: 'bob' });
    // Bob's token comes from a callback, so the client starts before it knows its user.
    const second = open(bobServer, () => jwt('bob'));
    const seen: unknown[] = [];
    second.it.outbox.subscribe(() => seen.push(...texts(second.it)));
    await online(second.it);
    await second.it.channel('c').publish('by bob');
    second.end();
    assert.ok(!seen.includes('by ann'), `${seen}`);
    const third = open(annServer, () => jwt('ann'));
    await until('sent', () => annServer.stored.length === 1);
    assert.deepEqual([bobServer.stored.map((one) => one.data), annServer.stored.map((one) => one.data)], [['by bob'], ['by ann']]);
    await until('nothing is left', () => shelf.entries.length === 0);
    third.end();
  });
}

test('entries that version 0.1.0 stored are sent by their author, and kept while their author is away', async (t) => {
  const shelf = new Shelf();
  shelf.entries = [old('of ann', 'ann'), old('of bob', 'bob'), old('of an unknown author')];
  const server = new Server();
  server.user = 'ann';
  const locks = new Locks();
  const it = client(t, server, { token: jwt('ann'), outbox: durable({ storage: shelf, locks: locks.tab().locks }), clock: quick });
  await until('sent and removed', () => shelf.entries.length === 2);
  assert.deepEqual(server.stored.map((one) => one.data), ['of ann']);
  assert.deepEqual(shelf.entries.map((one) => one.key), ['of bob', 'of an unknown author']);
  assert.deepEqual(texts(it), []);
  const open = new Server();
  client(t, open, { outbox: durable({ storage: shelf, locks: locks.tab().locks }), clock: quick });
  await until('sent where all users are anonymous', () => open.stored.length === 1);
  await until('removed', () => shelf.entries.length === 1);
  assert.deepEqual([open.stored[0]!.data, shelf.entries[0]!.key], ['of an unknown author', 'of bob']);
});

test('without a token, entries of an unknown author stay hidden until the gateway says that its users are anonymous', async (t) => {
  const shelf = new Shelf();
  shelf.entries = [old('of an unknown author')];
  const server = new Server();
  server.user = 'bob';
  const it = client(t, server, { outbox: durable({ storage: shelf, locks: null }) });
  await until('opened', () => it.outbox.storage.value === 'durable');
  await online(it);
  await it.channel('c').publish('of bob');
  assert.deepEqual([texts(it).includes('of an unknown author'), server.stored.map((one) => one.data)], [false, ['of bob']]);
});

test('what was written before the user was known is in the outbox of that user from then on', async (t) => {
  const shelf = new Shelf();
  const server = new Server();
  server.answers = false;
  server.user = 'ann';
  const it = client(t, server, { token: 'opaque', outbox: durable({ storage: shelf, locks: null }), clock: quick });
  const publish = it.channel('c').publish('early');
  publish.catch(() => {});
  await until('moved to the user', () => shelf.entries.length === 1 && shelf.entries[0]!.user === 'ann');
  assert.equal(shelf.entries[0]!.outbox, 'ws://gateway.example/ws ann');
});

test('an app that knows the user before the first token gets its entries back while offline', async (t) => {
  const shelf = new Shelf();
  const server = new Server();
  const locks = new Locks();
  const offline = () => Promise.reject(new Error('offline'));
  const before = locks.tab();
  const open = (user: string, tab = locks.tab()) => client(t, server, { token: offline, user, outbox: durable({ storage: shelf, locks: tab.locks }), clock: quick });
  const first = open('ann', before);
  first.channel('c').publish('by ann').catch(() => {});
  await until('stored', () => shelf.entries.length === 1);
  first.close();
  before.die();
  const [bob, ann] = [open('bob'), open('ann')];
  await until('restored', () => texts(ann).length === 1);
  assert.deepEqual([texts(ann), texts(bob)], [['by ann'], []]);
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
    await until('all are sent', () => done === 30);
    publish(30);
    await until('pending removals block nothing', () => done === 31);
    assert.equal(it.outbox.storage.value, 'memory');
  });
}

for (const fault of ['fails', 'hangs'] as const) {
  for (const withLocks of [true, false]) {
    test(`storage that ${fault} for a time is tried again and stores what still waits, ${withLocks ? 'with' : 'without'} locks`, async (t) => {
      const server = new Server();
      server.accepts = false;
      const shelf = new Shelf();
      const fail = (is: boolean) => Object.assign(shelf, fault === 'fails' ? { broken: is } : { hangs: is ? 'all' : 'nothing' });
      const it = client(t, server, { outbox: durable({ storage: shelf, locks: withLocks ? new Locks().tab().locks : null }), clock: quick });
      const room = it.channel('c');
      const write = (data: string) => { room.publish(data, { key: data.replaceAll(' ', '-') }).catch(() => {}); };
      await until('durable', () => it.outbox.storage.value === 'durable');
      write('stored before');
      write('discarded meanwhile');
      await until('stored', () => shelf.entries.length === 2);
      fail(true);
      write('written meanwhile');
      await until('in memory', () => it.outbox.storage.value === 'memory');
      write('written after it');
      it.outbox.discard('discarded-meanwhile');
      fail(false);
      await until('durable again', () => it.outbox.storage.value === 'durable');
      assert.deepEqual(shelf.entries.map(({ json }) => JSON.parse(json)), ['stored before', 'written meanwhile', 'written after it']);
      // Entries saved from now on are stored, and removed once they are sent.
      write('written later');
      await until('stored', () => shelf.entries.length === 4);
      server.accepts = true;
      it.reconnect();
      await until('sent and removed', () => shelf.entries.length === 0);
      assert.deepEqual(server.stored.map(({ data }) => data), ['stored before', 'written meanwhile', 'written after it', 'written later']);
    });
  }
}

test('storage that is too slow at the start is used once it answers, and the lock is requested once', async (t) => {
  const shelf = new Shelf();
  const locks = new Locks().tab().locks;
  let [requests, grant] = [0, () => {}];
  const slow = { ...locks, request: async (...args: Parameters<typeof locks.request>) => {
    requests += 1;
    await new Promise<void>((resolve) => { grant = resolve; });
    return locks.request(...args);
  } };
  const server = new Server();
  server.accepts = false;
  const it = client(t, server, { outbox: durable({ storage: shelf, locks: slow }), clock: quick });
  it.channel('c').publish('early').catch(() => {});
  await until('in memory', () => it.outbox.storage.value === 'memory');
  grant();
  await until('durable', () => it.outbox.storage.value === 'durable');
  assert.deepEqual([requests, shelf.entries.map(({ json }) => json)], [1, ['"early"']]);
});

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
  const it = client(t, server, { outbox: durable({ name: 'o', storage: shelf, locks: null }) });
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
  await until('taken over', () => second.outbox.value.length === 1);
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
  shelf.load = async (outbox) => { looks += 1; return load(outbox); };
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
