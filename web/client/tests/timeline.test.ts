/** The timeline: what a chat draws of a log and an outbox, and that it is the same for every order of events. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import WebSocket from 'ws';
import { connect, SeawallError, type Client, type OutboxEntry, type Publication, type SocketClass } from '../src/index.js';
import { Items } from '../src/items.js';
import { timeline, type TimelineItem, type TimelineMessage, type TimelineOptions, type TimelineState } from '../src/timeline.js';
import { client, online, Server } from './fakes.js';
import { Gateway, missing, until } from './gateway.js';

type Data = { text: string };

const original = (offset: number, more: object = {}): Publication =>
  ({ channel: 'c', offset, key: `key-${offset}`, user: 'ann', time: offset * 1000, data: { text: `text ${offset}` }, ...more }) as Publication;
const entry = (key: string, more: Partial<OutboxEntry> = {}): OutboxEntry =>
  ({ key, channel: 'c', data: { text: key }, at: 1, state: 'queued', ...more });

function items(window = 100, user = 'ann'): Items {
  const it = new Items(window);
  it.user = user;
  return it;
}

const messages = (all: readonly TimelineItem[]): TimelineMessage[] => all.filter((one) => one.kind === 'message');
const texts = (all: readonly TimelineItem[]) => messages(all).map(({ data }) => (data as Data | null)?.text ?? null);

test('the last edit replaces the data, and a delete removes it', () => {
  const it = items();
  [original(1), original(2, { edits: 1, data: { text: 'second' } }), original(3, { edits: 1, data: { text: 'third' } })].forEach((one) => it.add(one));
  assert.deepEqual(messages(it.list()).map(({ offset, data, edited, deleted }) => [offset, data, edited, deleted]), [[1, { text: 'third' }, true, false]]);
  it.add(original(4, { deletes: 1, data: null }));
  assert.deepEqual(messages(it.list()).map(({ data, edited, deleted }) => [data, edited, deleted]), [[null, false, true]]);
});

test('there are earlier messages only once all that the subscription began with has arrived', async (t) => {
  const server = new Server();
  const handle = server.handle.bind(server);
  server.handle = (socket, frame) => {
    if (frame['subscribe']) socket.deliver({ id: frame['id'], subscribed: { channel: 'c', epoch: 'e', head: 60, floor: 1 } });
    else handle(socket, frame);
  };
  const it = client(t, server);
  const line = timeline(it, it.channel('c', { last: 2 }));
  await until('subscribed', () => server.sockets[0]?.sent.some((frame) => 'subscribe' in frame) === true);
  const shown = async (last: number) => {
    server.sockets[0]!.deliver({ publication: original(last) });
    await until('shown', () => messages(line.value.items).at(-1)?.offset === last);
    return line.value.hasOlder;
  };
  // A list that is drawn now is shorter than its place, and would ask for more.
  assert.deepEqual([await shown(59), await shown(60)], [false, false]);
  server.sockets[0]!.deliver({ synced: { channel: 'c', offset: 60 } });
  await until('there are earlier ones', () => line.value.hasOlder);
});

test('the end of a stream is no edit by a person, and one after it is', () => {
  const it = items();
  const shown = () => messages(it.list()).map(({ data, edited, stream }) => [(data as Data).text, edited, stream]);
  it.add(original(1, { stream: 'begun' }));
  assert.deepEqual(shown(), [['text 1', false, 'begun']]);
  it.add(original(2, { edits: 1, stream: 'failed', data: { text: 'half' } }));
  assert.deepEqual(shown(), [['half', false, 'failed']]);
  it.add(original(3, { edits: 1, data: { text: 'whole' } }));
  assert.deepEqual(shown(), [['whole', true, undefined]]);
});

test('what was erased before it was read is deleted', () => {
  const it = items();
  [original(1, { data: null, deletedBy: 3 }), original(2, { edits: 1, data: null, deletedBy: 3 })].forEach((one) => it.add(one));
  assert.deepEqual(messages(it.list()).map(({ data, edited, deleted }) => [data, edited, deleted]), [[null, false, true]]);
});

test('a message that waits is below the log, and keeps its id once it is stored', () => {
  const it = items();
  it.add(original(1));
  it.pending([entry('mine', { state: 'sending' })]);
  const before = messages(it.list());
  assert.deepEqual(before.map(({ id, offset, own, pending }) => [id, offset, own, pending?.state]), [['m1', 1, true, undefined], ['kmine', undefined, true, 'sending']]);
  it.add(original(2, { key: 'mine' }));
  const joined = messages(it.list());
  assert.deepEqual(joined.map(({ id, offset, pending }) => [id, offset, pending]), [['m1', 1, undefined], ['kmine', 2, undefined]]);
  it.pending([]);
  assert.equal(it.list()[1], joined[1], 'the entry left the outbox, and the item is the same object');
});

test('the key of another user, and a key that conflicts, do not hide a message that waits', () => {
  const it = items();
  it.add(original(1, { user: 'bob', key: 'mine' }));
  it.pending([entry('mine')]);
  assert.deepEqual(messages(it.list()).map(({ id }) => id), ['m1', 'kmine']);
  it.add(original(2, { key: 'mine' }));
  it.pending([entry('mine', { state: 'failed', error: { code: 'key_conflict', message: 'other content' } })]);
  assert.deepEqual(messages(it.list()).map(({ id, own }) => [id, own]), [['m1', false], ['kmine', true], ['cmine', true]]);
  it.add(original(3, { key: 'mine' }));
  assert.deepEqual(messages(it.list()).map(({ id }) => id), ['m1', 'kmine', 'm3', 'cmine'], 'a key that the gateway has forgotten was used again');
});

test('with auth off only what this client sent is its own', () => {
  const it = items(100, 'anonymous');
  it.pending([entry('mine')]);
  [original(1, { user: 'anonymous' }), original(2, { user: 'anonymous', key: 'mine' })].forEach((one) => it.add(one));
  assert.deepEqual(messages(it.list()).map(({ own }) => own), [false, true]);
});

test('an edit or a delete in progress is in its message until the log has it', () => {
  const it = items();
  it.add(original(1));
  it.pending([entry('e', { edits: 1 })]);
  assert.deepEqual(messages(it.list()).map(({ id, data, pending }) => [id, data, pending?.key]), [['m1', { text: 'text 1' }, 'e']]);
  it.add(original(2, { key: 'e', edits: 1, data: { text: 'e' } }));
  assert.deepEqual(messages(it.list()).map(({ data, pending }) => [data, pending]), [[{ text: 'e' }, undefined]]);
  it.pending([entry('e', { edits: 1 }), entry('d', { deletes: 1, data: null })]);
  assert.equal(messages(it.list())[0]!.pending?.key, 'd');
});

test('gaps and resets are where they happened', () => {
  const it = items();
  it.add(original(1));
  it.gap({ from: 2, to: 4, because: 'expired' });
  it.add(original(5));
  it.gap({ from: 6, to: 8, because: 'expired' });
  assert.deepEqual(it.list().map(({ kind, id }) => [kind, id]), [['message', 'm1'], ['gap', 'g5'], ['message', 'm5'], ['gap', 'g9']]);
  it.gap({ from: 9, to: 20, because: 'skipped' });
  assert.deepEqual([it.list(), it.oldest], [[], 21], 'what was skipped can be loaded, so the timeline begins after it');
  it.reset({ epoch: 'new', offset: 3 });
  it.add(original(4));
  assert.deepEqual([it.list().map(({ kind, id }) => [kind, id]), it.oldest], [[['reset', 'rnew'], ['message', 'm4']], 4]);
});

test('over the window the oldest messages are dropped, and are edited when they are loaded again', () => {
  const it = items(2);
  for (let offset = 1; offset <= 3; offset += 1) it.add(original(offset));
  it.add(original(4, { edits: 1, data: { text: 'edited' } }));
  it.add(original(5, { edits: 2, data: { text: 'edited' } }));
  it.trim(2);
  assert.deepEqual([it.size, it.oldest, texts(it.list())], [2, 2, ['edited', 'text 3']]);
  it.add(original(1));
  assert.deepEqual(texts(it.list()), ['edited', 'edited', 'text 3']);
});

test('unchanged items and lists are the same objects', () => {
  const it = items();
  for (let offset = 1; offset <= 3; offset += 1) it.add(original(offset));
  it.pending([entry('a')]);
  const before = it.list();
  assert.equal(it.list(), before);
  it.add(original(4, { edits: 2, data: { text: 'new' } }));
  const after = it.list();
  assert.deepEqual(after.map((one, index) => one === before[index]), [true, false, true, true]);
  assert.equal(texts(before)[1], 'text 2', 'the earlier list was not modified');
});

/** The end state of a log and an outbox, computed from the whole log at once. */
function model(log: readonly Publication[], from: number, entries: readonly OutboxEntry[], sent: ReadonlySet<string>): object[] {
  const known = log.filter(({ offset }) => offset >= from);
  const stored = known.filter(({ edits, deletes }) => edits === undefined && deletes === undefined).map((one) => {
    const changes = known.filter(({ edits, deletes }) => edits === one.offset || deletes === one.offset);
    const deleted = one.deletedBy !== undefined || changes.some(({ deletes }) => deletes !== undefined);
    const last = changes.filter(({ edits }) => edits !== undefined).at(-1);
    const edit = deleted ? undefined : last;
    const own = one.user === 'ann';
    const pending = entries.filter(({ key, edits, deletes }) => (edits ?? deletes) === one.offset
      && last?.key !== key && !changes.some((change) => change.deletes !== undefined && change.key === key)).at(-1);
    return { id: own && sent.has(one.key!) ? `k${one.key}` : `m${one.offset}`, data: deleted ? null : (edit ?? one).data, edited: edit !== undefined, deleted, own, pending: pending?.key };
  });
  const inLog = new Set(known.filter(({ user, edits, deletes }) => user === 'ann' && edits === undefined && deletes === undefined).map(({ key }) => key));
  const waiting = entries.filter(({ key, edits, deletes }) => edits === undefined && deletes === undefined && !inLog.has(key))
    .map(({ key, data }) => ({ id: `k${key}`, data, edited: false, deleted: false, own: true, pending: key }));
  return [...stored, ...waiting];
}

const drawn = (all: readonly TimelineItem[]): object[] =>
  messages(all).map(({ id, data, edited, deleted, own, pending }) => ({ id, data, edited, deleted, own, pending: pending?.key }));

/** A random log: originals of two users, edits and deletes of earlier originals. A third of it is sent by this client. */
const event = fc.record({ is: fc.constantFrom('original', 'original', 'edits', 'deletes'), of: fc.nat(30), who: fc.constantFrom('ann', 'ann', 'bob'), here: fc.boolean() });
type Event = typeof event extends fc.Arbitrary<infer E> ? E : never;

function written(events: readonly Event[]): { log: Publication[]; here: Set<string> } {
  const here = new Set<string>();
  const log: Publication[] = [];
  for (const { is, of, who: user, here: mine } of events) {
    const offset = log.length + 1;
    const targets = log.filter((one) => one.edits === undefined && one.deletes === undefined && !log.some(({ deletes }) => deletes === one.offset));
    const target = targets[of % (targets.length || 1)];
    const change = is === 'original' || !target ? {} : is === 'edits' ? { edits: target.offset } : { deletes: target.offset, data: null };
    if (user === 'ann' && mine) here.add(`key-${offset}`);
    log.push(original(offset, { user, ...change }));
  }
  return { log, here };
}

/** One input of a timeline: the next live publications, a page of history, or a step of the outbox. */
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('live' as const), many: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('older' as const), many: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('queue' as const, 'send' as const, 'fail' as const, 'settle' as const), many: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('repeat' as const, 'trim' as const), many: fc.integer({ min: 1, max: 6 }) }) },
);

test('every interleaving of live publications, replays, history and the outbox ends like the model', () => {
  fc.assert(fc.property(fc.array(event, { minLength: 1, maxLength: 30 }), fc.nat(30), fc.array(step, { maxLength: 40 }), (events, start, steps) => {
    const { log, here } = written(events);
    const it = items(1000);
    let from = (start % log.length) + 1;
    let next = from;
    let entries: OutboxEntry[] = [];
    let last = it.list();
    const sent = new Set<string>();
    const entryOf = ({ key, data, edits, deletes }: Publication): OutboxEntry =>
      entry(key!, { data, ...(edits !== undefined && { edits }), ...(deletes !== undefined && { deletes }) });
    const tell = (step: { do: string; many: number }) => {
      const many = log.slice(next - 1, next - 1 + step.many);
      switch (step.do) {
        // A client knows of its own publication before the log has it.
        case 'queue': {
          const one = log.slice(next - 1).find(({ key }) => here.has(key!) && !sent.has(key!));
          if (!one) return;
          sent.add(one.key!);
          entries = [...entries, entryOf(one)];
          break;
        }
        case 'send':
        case 'fail': {
          const to = step.do === 'send' ? { state: 'sending' as const } : { state: 'failed' as const, error: { code: 'forbidden' as const, message: '' } };
          entries = entries.map((one, index) => (index === step.many && one.state !== to.state ? { ...one, ...to } : one));
          break;
        }
        case 'settle': entries = entries.filter(({ key }) => !log.some((one) => one.offset < next && one.key === key)); break;
        case 'live':
          many.forEach((one) => it.add(one));
          next += many.length;
          break;
        case 'older':
          log.slice(Math.max(0, from - 1 - step.many), from - 1).reverse().forEach((one) => it.add(one));
          from = Math.max(1, from - step.many);
          break;
        case 'trim': {
          const kept = log.slice(from - 1, next - 1).filter(({ edits, deletes }) => edits === undefined && deletes === undefined).slice(-step.many);
          if (it.size > step.many) from = kept[0]!.offset;
          it.trim(step.many);
          assert.equal(it.oldest ?? from, from);
          break;
        }
        case 'repeat': log.slice(Math.max(from - 1, next - 1 - step.many), next - 1).forEach((one) => it.add(one)); break;
      }
      it.pending(entries);
      const now = it.list();
      const known = new Map(last.map((one) => [one.id, one]));
      for (const one of now) {
        const before = known.get(one.id);
        if (before && step.do !== 'repeat' && JSON.stringify(before) === JSON.stringify(one)) assert.equal(one, before, `${one.id} is the same object`);
      }
      assert.equal(new Set(now.map(({ id }) => id)).size, now.length, 'ids are unique');
      last = now;
    };
    steps.forEach(tell);
    assert.deepEqual(drawn(it.list()), model(log.slice(0, next - 1), from, entries, sent));
    tell({ do: 'live', many: log.length });
    tell({ do: 'settle', many: 0 });
    tell({ do: 'older', many: log.length });
    assert.deepEqual(drawn(it.list()), model(log, 1, [], sent));
  }), { numRuns: Number(process.env['RUNS'] ?? 500) });
});

test('the same items result from every order of publications', () => {
  const shuffled = fc.array(event, { minLength: 1, maxLength: 30 }).map((events) => written(events).log)
    .chain((log) => fc.tuple(fc.constant(log), fc.shuffledSubarray(log, { minLength: log.length })));
  fc.assert(fc.property(shuffled, ([inOrder, mixed]) => {
    const [one, two] = [items(), items()];
    inOrder.forEach((publication) => one.add(publication));
    mixed.forEach((publication) => two.add(publication));
    assert.deepEqual(two.list(), one.list());
  }));
});

/** A client that is online as `ann`, its socket, and its timeline of the channel `c`. */
async function following(t: Parameters<typeof client>[0], options: TimelineOptions = {}) {
  const server = new Server();
  server.user = 'ann';
  const it = client(t, server);
  const room = it.channel<Data>('c', { last: 10 });
  const line = timeline(it, room, options);
  await online(it);
  await until('live', () => room.state.value.phase === 'live');
  const push = (...more: Publication[]) => more.forEach((publication) => server.sockets[0]!.deliver({ publication }));
  return { server, it, room, line, push };
}

test('listeners hear once a turn, and only of changes', async (t) => {
  const { it, room, line, push } = await following(t);
  const heard: TimelineState<Data>[] = [];
  line.subscribe((state) => heard.push(state));
  push(original(1), original(2), original(3));
  assert.equal(line.value.items.length, 3, 'the value is up to date at once');
  assert.equal(line.value, line.value);
  await until('heard', () => heard.length === 1);
  assert.equal(heard[0], line.value);
  it.channel('other').publish(1).catch(() => {});
  await new Promise((resolve) => { setTimeout(resolve); });
  assert.equal(heard.length, 1, 'a publication in another channel changes nothing');
  room.leave();
  const { value } = line;
  await it.channel('c').publish({ text: 'later' });
  assert.equal(line.value, value, 'it ended with its handle');
});

test('what others write after the read position is unread', async (t) => {
  const { room, line, push } = await following(t);
  push(original(1), original(2, { user: 'bob' }), original(3, { user: 'bob' }), original(4, { user: 'bob', edits: 2 }));
  assert.deepEqual([line.value.unread, line.value.moreUnread], [2, false], 'neither own messages nor edits count');
  push(original(5, { user: 'bob', deletes: 3, data: null }));
  assert.equal(line.value.unread, 1);
  assert.deepEqual(line.read(), room.cursor);
  assert.equal(line.value.unread, 0);
  push(original(6, { user: 'bob' }));
  assert.equal(line.value.unread, 1);
});

test('a position from an earlier visit counts, and one of another log counts everything', async (t) => {
  const { line, push } = await following(t, { read: { epoch: 'e', offset: 1 } });
  push(original(1, { user: 'bob' }), original(2, { user: 'bob' }), original(3, { user: 'bob' }));
  assert.equal(line.value.unread, 2);
  const other = await following(t, { read: { epoch: 'lost', offset: 100 } });
  other.push(original(1, { user: 'bob' }), original(2, { user: 'bob' }));
  assert.equal(other.line.value.unread, 2);
});

test('a window without messages is refused', async (t) => {
  const it = client(t, new Server());
  assert.throws(() => timeline(it, it.channel('c'), { window: 0 }), (error: SeawallError) => error.code === 'invalid' && error.message.includes('window'));
});

test('two people talk through a gateway that is killed: both have the same timeline', { skip: missing }, async (t) => {
  const gateway = new Gateway({ SEAWALL_LIMITS_PUBLISHES_PER_S: '0', SEAWALL_LIMITS_COMMANDS_PER_S: '0' });
  await gateway.start();
  t.after(() => gateway.stop());
  const person = (): { it: Client; line: ReturnType<typeof timeline<Data>>; room: ReturnType<Client['channel']> } => {
    const it = connect(gateway.url, { WebSocket: WebSocket as unknown as SocketClass });
    t.after(() => it.close());
    const room = it.channel<Data>('room', { last: 50 });
    return { it, line: timeline(it, room, { window: 20 }), room };
  };
  const [ann, bob] = [person(), person()];
  await until('live', () => [ann, bob].every(({ room }) => room.state.value.phase === 'live'));
  for (let n = 1; n <= 30; n += 1) await ann.room.publish({ text: `${n}` });
  await until('read', () => texts(bob.line.value.items).at(-1) === '30');
  await gateway.end('SIGKILL');
  await until('cut', () => ann.it.state.value.phase !== 'online');
  const late = [ann.room.publish({ text: 'offline' }), ann.room.publish({ text: 'better' }, { edits: 29 }), ann.room.publish(null, { deletes: 30 })];
  const tail = messages(ann.line.value.items).slice(-3);
  assert.deepEqual(tail.map(({ data, pending }) => [(data as Data).text, pending?.edits ?? pending?.deletes ?? pending?.state]), [['29', 29], ['30', 30], ['offline', 'queued']]);
  await gateway.start();
  await Promise.all(late);
  const texted = ({ line }: typeof ann) => texts(line.value.items);
  const end = [...Array.from({ length: 17 }, (_, index) => `${index + 12}`), 'better', null, 'offline'];
  await until('the same end', () => JSON.stringify(texted(ann)) === JSON.stringify(end) && JSON.stringify(texted(bob)) === JSON.stringify(end));
  assert.deepEqual(messages(ann.line.value.items).map(({ pending, own }) => [pending, own]), Array.from({ length: 20 }, () => [undefined, true]));
  assert.deepEqual([bob.line.value.unread, bob.line.value.moreUnread, bob.line.value.hasOlder], [19, true, true]);
  await bob.line.older(300);
  assert.equal(texted(bob).length, 31);
  assert.deepEqual([texted(bob)[0], bob.line.value.hasOlder, bob.line.value.loading], ['1', false, false]);
  assert.equal(bob.line.value.unread, 30);
  bob.line.newest();
  assert.deepEqual([texted(bob), bob.line.value.hasOlder], [end, true]);
});
