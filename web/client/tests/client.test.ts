/** The shell and the keeper: promises, handles, storage and tabs, on sockets and locks by hand. */

import assert from 'node:assert/strict';
import 'fake-indexeddb/auto';
import { test, type TestContext } from 'node:test';
import { durable } from '../src/durable.js';
import { connect, ITERATION_MAX, SeawallError, type Client, type Clock, type Options, type OutboxStorage, type Socket, type SocketClass, type State, type StoredEntry } from '../src/index.js';
import { until } from './gateway.js';

/** A gateway in the same process: a connection can be refused, held or answered. */
class Server {
  accepts = true;
  answers = true;
  readonly sockets: FakeSocket[] = [];
  readonly stored: { channel: string; key: string; data: unknown }[] = [];
  readonly Socket: SocketClass;

  constructor() {
    const server = this;
    this.Socket = class extends FakeSocket {
      constructor() { super(server); }
    };
  }

  handle(socket: FakeSocket, frame: Record<string, any>): void {
    const { id } = frame;
    const limits = { frame_bytes: 65536, publishes_per_s: 0, publishes_burst: 1, subscriptions: 128 };
    const status = { level: 'ok', revision: 1, dependencies: [], lost: [] };
    if (frame['connect']) socket.told({ id, connected: { connection: 'c', instance: 'i', user: 'u', ping_ms: 25000, stable_ms: 10000, limits, status, recovered: [] } });
    else if (frame['subscribe']) {
      const { channel } = frame['subscribe'];
      socket.told({ id, subscribed: { channel, epoch: 'e', head: 0, floor: 1 } });
      socket.told({ synced: { channel, offset: 0 } });
    } else if (frame['unsubscribe']) socket.told({ id, unsubscribed: frame['unsubscribe'] });
    else if (frame['publish'] && this.answers) {
      const { channel, key, data } = frame['publish'];
      const duplicate = this.stored.some((one) => one.key === key);
      if (!duplicate) this.stored.push({ channel, key, data });
      socket.told({ id, published: { channel, key, epoch: 'e', offset: this.stored.length, time: 1, duplicate } });
    }
  }
}

class FakeSocket implements Socket {
  bufferedAmount = 0;
  onopen: Socket['onopen'] = null;
  onmessage: Socket['onmessage'] = null;
  onclose: Socket['onclose'] = null;
  onerror: Socket['onerror'] = null;
  readonly sent: Record<string, any>[] = [];

  constructor(readonly server: Server) {
    server.sockets.push(this);
    queueMicrotask(() => {
      if (server.accepts) this.onopen?.({} as never);
      else this.lost();
    });
  }

  send(text: string): void {
    const frame = JSON.parse(text) as Record<string, any>;
    this.sent.push(frame);
    queueMicrotask(() => this.server.handle(this, frame));
  }

  told(frame: object | string): void {
    this.onmessage?.({ data: typeof frame === 'string' ? frame : JSON.stringify(frame) } as never);
  }

  lost(code = 1006, reason = ''): void {
    this.onclose?.({ code, reason } as never);
  }

  close(): void {}
}

/** Web Locks of one origin: exclusive, first come first served, let go of when the holder's work or the holder ends. */
class Locks {
  readonly #held = new Map<string, (() => void)[]>();
  /** Of one tab: ends as the browser ends a page. */
  tab(): { locks: Pick<LockManager, 'request'>; die: () => void } {
    const mine: (() => void)[] = [];
    const request = async (name: string, options: any, run?: any): Promise<unknown> => {
      const work = run ?? options;
      const { ifAvailable, signal } = (run ? options : {}) as LockOptions;
      const queue = this.#held.get(name);
      if (queue && ifAvailable) return work(null);
      if (queue) {
        await new Promise<void>((granted, failed) => {
          queue.push(granted);
          signal?.addEventListener('abort', () => failed(new Error('aborted')));
        });
      } else this.#held.set(name, []);
      const release = () => {
        const next = this.#held.get(name)?.shift();
        if (next) next();
        else this.#held.delete(name);
      };
      mine.push(release);
      try { return await work({ name }); } finally {
        if (mine.includes(release)) {
          mine.splice(mine.indexOf(release), 1);
          release();
        }
      }
    };
    return { locks: { request: request as LockManager['request'] }, die: () => mine.splice(0).forEach((release) => release()) };
  }
}

/** A storage that can be looked into, and can fail. */
class Shelf implements OutboxStorage {
  entries: StoredEntry[] = [];
  broken = false;
  /** What never answers. */
  hangs: 'nothing' | 'writes' | 'all' = 'nothing';
  async load(): Promise<StoredEntry[]> {
    if (this.hangs === 'all') await new Promise(() => {});
    return this.#do(() => [...this.entries]);
  }
  async put(entry: StoredEntry): Promise<void> {
    if (this.hangs !== 'nothing') await new Promise(() => {});
    this.#do(() => { this.entries = [...this.entries.filter((one) => one.key !== entry.key), entry]; });
  }
  async remove(_: string, key: string): Promise<void> {
    if (this.hangs !== 'nothing') await new Promise(() => {});
    this.#do(() => { this.entries = this.entries.filter((one) => one.key !== key); });
  }
  #do<T>(run: () => T): T {
    if (this.broken) throw new Error('the disk is gone');
    return run();
  }
}

function client(t: TestContext, server: Server, options: Options = {}): Client {
  const it = connect('ws://gateway.example/ws', { WebSocket: server.Socket, ...options });
  t.after(() => it.close());
  return it;
}

/** A clock whose timers ring fifty times as early. */
const quick: Clock = { now: () => Date.now(), setTimeout: (run, ms) => setTimeout(run, ms / 50), clearTimeout: (timer) => clearTimeout(timer) };

const online = (it: Client) => until('online', () => it.state.value.phase === 'online');

test('handles of a name share one subscription, which ends with the last of them', async (t) => {
  const server = new Server();
  const it = client(t, server);
  const [one, two] = [it.channel('c'), it.channel('c')];
  await until('live', () => one.state.value.phase === 'live' && two.state.value.phase === 'live');
  const count = (name: string) => server.sockets[0]!.sent.filter((frame) => name in frame).length;
  const heard: number[] = [];
  one.on('publication', () => heard.push(1));
  two.on('publication', () => heard.push(2));
  server.sockets[0]!.told({ publication: { channel: 'c', offset: 1, user: 'u', time: 1, data: 1 } });
  one.leave();
  one.leave();
  server.sockets[0]!.told({ publication: { channel: 'c', offset: 2, user: 'u', time: 1, data: 1 } });
  assert.deepEqual([heard, count('subscribe'), count('unsubscribe')], [[1, 2, 2], 1, 0]);
  two.leave();
  assert.equal(count('unsubscribe'), 1);
  assert.equal(it.channel('c').state.value.phase, 'waiting', 'joined anew');
});

test('an iteration that falls behind says so, after what it holds, and where to go on', async (t) => {
  const server = new Server();
  const it = client(t, server);
  const room = it.channel('c');
  const iteration = room[Symbol.asyncIterator]();
  await until('live', () => room.state.value.phase === 'live');
  for (let offset = 1; offset <= ITERATION_MAX + 5; offset += 1) server.sockets[0]!.told({ publication: { channel: 'c', offset, user: 'u', time: 1, data: 1 } });
  for (let offset = 1; offset <= ITERATION_MAX; offset += 1) assert.equal((await iteration.next()).value.offset, offset);
  await assert.rejects(iteration.next(), (error: SeawallError) => error.code === 'overrun' && error.message.includes(String(ITERATION_MAX + 1)));
});

test('an iteration may be asked ahead, answers in order, and ends for those who wait', async (t) => {
  const server = new Server();
  const it = client(t, server);
  const room = it.channel('c');
  const iteration = room[Symbol.asyncIterator]();
  await until('live', () => room.state.value.phase === 'live');
  const asked = [iteration.next(), iteration.next(), iteration.next(), iteration.next()];
  const told = (offset: number) => server.sockets[0]!.told({ publication: { channel: 'c', offset, user: 'u', time: 1, data: 1 } });
  for (const offset of [1, 2, 3]) told(offset);
  assert.deepEqual((await Promise.all(asked.slice(0, 3))).map(({ value }) => value.offset), [1, 2, 3]);
  const end = { done: true, value: undefined };
  assert.deepEqual(await iteration.return!(), end);
  assert.deepEqual(await asked[3], end);
  told(4);
  assert.deepEqual(await iteration.next(), end);
});

test('what is published after the gateway ended it for good waits for reconnect()', async (t) => {
  const server = new Server();
  const it = client(t, server);
  await online(it);
  server.sockets[0]!.lost(4503, 'forbidden');
  assert.equal(it.state.value.phase, 'closed');
  const published = it.channel('c').publish('later');
  assert.deepEqual(it.outbox.value.map((one) => one.state), ['queued']);
  await assert.rejects(it.channel('c').history(), (error: SeawallError) => error.code === 'closed');
  it.reconnect();
  assert.equal((await published).offset, 1);
});

test('a listener that throws, and one that publishes, disturb nobody', async (t) => {
  const server = new Server();
  const it = client(t, server);
  const room = it.channel('c');
  await until('live', () => room.state.value.phase === 'live');
  const faults: unknown[] = [];
  const { queueMicrotask: later } = globalThis;
  t.mock.method(globalThis, 'queueMicrotask', (run: () => void) => later(() => {
    try { run(); } catch (error) { faults.push(error); }
  }));
  const heard: number[] = [];
  room.on('publication', () => { throw new Error('mine'); });
  room.on('publication', ({ offset }) => {
    heard.push(offset);
    if (offset === 1) void room.publish('again');
  });
  server.sockets[0]!.told({ publication: { channel: 'c', offset: 1, user: 'u', time: 1, data: 1 } });
  assert.deepEqual(heard, [1]);
  await until('published', () => server.stored.length === 1);
  await until('reported', () => faults.length === 1);
});

test('a frame of an unknown shape costs the connection, not the client', async (t) => {
  const server = new Server();
  const it = client(t, server);
  await online(it);
  server.sockets[0]!.told('not json');
  server.sockets[0]!.told('[]');
  assert.equal(it.state.value.phase, 'online', 'what is no frame is passed over');
  server.sockets[0]!.told({ beat: { heads: 7, revision: {} }, publication: null, lag: { channel: 'c' }, synced: 5 });
  server.sockets[0]!.told({ publication: { channel: 7 } });
  const room = it.channel('c');
  await until('live', () => room.state.value.phase === 'live');
  server.sockets[0]!.told({ synced: { channel: 'c', offset: 5 } });
  const { id } = server.sockets[0]!.sent.at(-1)!;
  server.sockets[0]!.told({ id, history: { channel: 'c', epoch: 'e', head: 5, floor: 1, publications: 3 } });
  const value = it.state.value as State;
  assert.ok(value.phase === 'waiting' && /could not be read/.test(value.because.message!), JSON.stringify(value));
  await online(it);
});

test('a signal is sent or refused at once', async (t) => {
  const server = new Server();
  const it = client(t, server);
  const room = it.channel('c');
  assert.equal(room.signal({ typing: true }), false);
  await until('live', () => room.state.value.phase === 'live');
  assert.equal(room.signal({ typing: true }), true);
  assert.deepEqual(server.sockets[0]!.sent.at(-1), { signal: { channel: 'c', data: { typing: true } } });
  server.sockets[0]!.bufferedAmount = 1e6;
  assert.equal(room.signal({ typing: true }), false, 'not into a socket that does not drain');
});

test('close ends all: promises, iterations, timers; and what is asked after it', async (t) => {
  const server = new Server();
  server.accepts = false;
  const it = client(t, server);
  const room = it.channel('c');
  const publish = room.publish(1);
  const page = room.history();
  const iteration = room[Symbol.asyncIterator]().next();
  it.close();
  it.close();
  for (const promise of [publish, page, room.publish(2), room.history()]) await assert.rejects(promise, (error: SeawallError) => error.code === 'closed');
  assert.deepEqual(await iteration, { done: true, value: undefined });
  assert.deepEqual([it.state.value.phase, it.channel('d').state.value.phase], ['closed', 'left']);
});

test('a clock that goes back changes nothing', async (t) => {
  const server = new Server();
  let shift = 0;
  const clock = { ...quick, now: () => Date.now() + shift };
  const it = client(t, server, { clock });
  await online(it);
  shift = -3_600_000;
  server.sockets[0]!.lost();
  await until('a second connection', () => server.sockets.length > 1);
});

test('an entry is in storage before it is sent, and gone once it is acknowledged', async (t) => {
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

test('a storage that fails is said, and sending goes on', async (t) => {
  const server = new Server();
  const shelf = new Shelf();
  shelf.broken = true;
  const it = client(t, server, { outbox: durable({ storage: shelf, locks: null }) });
  await it.channel('c').publish(1);
  assert.equal(it.outbox.storage.value, 'memory');
});

for (const hangs of ['all', 'writes'] as const) {
  test(`a storage that never answers (${hangs}) is as one that failed`, async (t) => {
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
    await until('what is to be forgotten holds nothing up', () => done === 31, 1_000);
    assert.equal(it.outbox.storage.value, 'memory');
  });
}

test('IndexedDB: what was not sent is there after a reload, in its order', async (t) => {
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
  void second.channel('c').publish('typed since');
  await until('all are sent', () => server.stored.length === 11);
  assert.deepEqual(server.stored.map((one) => one.data), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 'typed since']);
});

test('two tabs: each sends its own, and one that dies is succeeded by one of the others', async (t) => {
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
  assert.deepEqual([one, two, three].map((tab) => tab.outbox.value.length), [5, 5, 0], 'a living tab keeps its own');
  one.close();
  tabs[0]!.die();
  await until('taken over, by one', () => two.outbox.value.length + three.outbox.value.length === 10);
  assert.equal(new Set(shelf.entries.map((entry) => entry.owner)).size, three.outbox.value.length ? 2 : 1);
  server.accepts = true;
  await until('sent', () => server.stored.length === 10);
  for (const name of ['one', 'two']) {
    const typed = server.stored.map((one) => one.data as string).filter((data) => data.startsWith(name));
    assert.deepEqual(typed, [0, 1, 2, 3, 4].map((n) => `${name} ${n}`));
  }
  await until('nothing is left', () => shelf.entries.length === 0);
});

test('a failure is still shown after a reload, and not sent again by itself', async (t) => {
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

test('the same key twice is refused while the first is on its way', async (t) => {
  const server = new Server();
  server.answers = false;
  const room = client(t, server).channel('c');
  room.publish(1, { key: 'k' }).catch(() => {});
  await assert.rejects(room.publish(1, { key: 'k' }), /k is in the outbox already/);
});

test('observables hold one value until it changes, and their members work detached', async (t) => {
  const server = new Server();
  const it = client(t, server);
  const { subscribe } = it.state;
  const phases: string[] = [];
  const end = subscribe((state) => phases.push(state.phase));
  await online(it);
  const value = it.state.value;
  server.sockets[0]!.told({ beat: { revision: 1 } });
  assert.equal(it.state.value, value);
  end();
  server.sockets[0]!.lost();
  assert.deepEqual([phases, it.state.value.phase], [['online'], 'waiting']);
});

test('a socket that throws stops nothing', async (t) => {
  const server = new Server();
  const it = client(t, server);
  await online(it);
  const room = it.channel('c');
  await until('live', () => room.state.value.phase === 'live');
  const { send } = FakeSocket.prototype;
  t.mock.method(server.sockets[0]!, 'send', () => { throw new Error('not now'); }, { times: 1 });
  assert.throws(() => room.signal(1), /not now/);
  server.sockets[0]!.send = send;
  assert.equal((await room.publish(2)).offset, 1);
});

test('a page that is still going away when the next one starts is succeeded the moment it is gone', async (t) => {
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
