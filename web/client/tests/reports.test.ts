/** Reports of the app's errors: their fingerprints, their queue, and what is sent when. */

import 'fake-indexeddb/auto';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import fc from 'fast-check';
import type { Client } from '../src/index.js';
import { add, describe, GROUPS_MAX, NO_ERRORS, scrub, without, type ErrorGroup, type Errors } from '../src/errors.js';
import { batch, fingerprint, reports, type Reporter, type ReportOptions } from '../src/reports.js';
import { client, fast, Locks, online, Server } from './fakes.js';
import { until } from './gateway.js';

interface Vector { readonly name: string; readonly error: string; readonly message: string; readonly stack: string; readonly fingerprint: string }
const { cases } = JSON.parse(readFileSync(new URL('../../../../tests/vectors/errors.json', import.meta.url), 'utf8')) as { cases: Vector[] };

test('errors.json: an error has the fingerprint that the gateway computes', () => {
  for (const { name, error, message, stack, fingerprint: expected } of cases) assert.equal(fingerprint(error, message, stack), expected, name);
});

test('an error has one fingerprint, whatever its numbers, quotes, host, query and column are', () => {
  const stack = (host: string, column: number) => `TypeError: x\n    at draw (${host}/assets/app.js?v=${column}:12:${column})\n    at run (${host}/a.js:1:${column})`;
  const one = fingerprint('TypeError', 'no author in "m17" of 4', stack('https://a.example', 5));
  assert.equal(fingerprint('TypeError', 'no author in "m18" of 5', stack('https://b.example:8443', 9)), one);
  assert.notEqual(fingerprint('RangeError', 'no author in "m17" of 4', stack('https://a.example', 5)), one);
  assert.notEqual(fingerprint('TypeError', 'no text', stack('https://a.example', 5)), one);
  assert.match(one, /^[0-9a-f]{8}$/);
});

test('secrets and personal data are removed', () => {
  const jwt = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl';
  assert.equal(scrub(`${jwt} ann.b+c@mail.example Bearer abc-123 /rooms?token=1&x=2 call 0041791234567`), '[token] [mail] Bearer [token] /rooms?[query] call [number]');
});

test('a token after an escape or cut in half is removed, and a text of any length is described at once', () => {
  assert.equal(scrub('/a?b%3DeyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln keyJson.a.b'), '/a?b%3D[token] keyJson.a.b');
  const described = (text: string) => describe(new Error(text), 'message', '', { value: text }, String, 1);
  const long = described(`eyJ${'a'.repeat(400)}.eyJ${'b'.repeat(900)}.c`);
  assert.deepEqual([long.message, long.context['value']], ['[token]', '[token]']);
  const begin = performance.now();
  for (const part of ['a', 'a.', 'eyJ', '?a', '1', 'a@a.', '“', 'Bearer ']) described(part.repeat(200_000));
  // 30 ms on a quiet machine; with a time that grows with the square of the length, minutes.
  assert.ok(performance.now() - begin < 10_000, `${performance.now() - begin} ms`);
});

test('a reporter that closes returns what waits, unless its storage keeps that', async (t) => {
  const server = new Server();
  server.accepts = false;
  const [kept, lost] = [true, false].map((durable) => reports(client(t, server), { durable, clock: fast() })) as [Reporter, Reporter];
  for (const each of [kept, lost]) each.report(new Error('x'));
  assert.deepEqual([kept.close().length, lost.close().length], [0, 1]);
});

test('groups, their texts and their context are bounded', () => {
  const long = new Error('x '.repeat(1_000));
  const one = describe(long, 'message', 'c'.repeat(9_000), Object.fromEntries(Array.from({ length: 20 }, (_, at) => [`k${at}`, 'v '.repeat(200)])), String, 1);
  assert.deepEqual([one.message.length, one.component.length, Object.keys(one.context).length, one.context['k0']!.length], [500, 1_800, 8, 96]);
  let all: Errors = NO_ERRORS;
  const another = (name: string) => describe(Object.assign(new Error('x'), { name, stack: '' }), 'message', '', {}, String, 1);
  for (let at = 0; at < GROUPS_MAX; at += 1) all = add(all, another(`Error${at}`));
  all = add(all, another('Error0'));
  all = add(all, another('Other'));
  assert.deepEqual([all.groups.length, all.dropped, all.groups[0]!.name, all.groups[0]!.count, all.groups.at(-1)!.name], [GROUPS_MAX, 1, 'Error0', 2, 'Other']);
  assert.ok(!all.groups.some(({ name }) => name === 'Error1'), 'the oldest of one error went');
});

/** An error with a name of its own: letters, because digits do not count. */
const error = (at: number, message = 'x'): Error => Object.assign(new Error(message), { name: `E${String(at).replace(/\d/g, (digit) => 'abcdefghij'[Number(digit)]!)}`, stack: '' });

function reporter(t: TestContext, it: Client, options: ReportOptions = {}): Reporter {
  const made = reports(it, { durable: false, clock: fast(), ...options });
  t.after(() => made.close());
  return made;
}

const names = ({ reports }: Server) => reports.map(({ errors }) => errors.map(({ name, count }) => `${name} ${count}`));

test('errors are gathered in groups, scrubbed, and sent once', async (t) => {
  const server = new Server();
  const it = client(t, server);
  const errors = reporter(t, it, { release: 'web 1', scrub: (text) => text.replace('secret', '[cut]'), context: () => ({ route: '/rooms' }) });
  const reference = errors.report(error(1, 'a secret of ann@mail.example'), { level: 'thread', context: { component: 'Row' } });
  errors.report(error(1, 'a secret of bob@mail.example'));
  errors.report('no error \ud83d');
  assert.match(reference, /^[0-9a-f]{8}$/);
  await until('the report', () => errors.waiting.value.groups.length === 0);
  const [first, second] = server.reports[0]!.errors;
  assert.deepEqual(first, { level: 'thread', name: 'Eb', message: 'a [cut] of [mail]', stack: '', component: 'Row', count: 2, context: { release: 'web 1', phase: first!['context'].phase, route: '/rooms' } });
  assert.deepEqual([second!['message'], server.reports.length], ['no error ', 1]);
});

test('errors wait while the outbox is sent, and are kept if the gateway did not read them', async (t) => {
  const server = new Server();
  server.answers = false;
  server.reported = () => ({ reported: { accepted: 0, dropped: 0, next_ms: 5_000 } });
  const it = client(t, server);
  const errors = reporter(t, it);
  await online(it);
  void it.channel('c').publish(1).catch(() => {});
  errors.report(error(1));
  await new Promise((resolve) => { setTimeout(resolve, 60); });
  assert.equal(server.reports.length, 0, 'the outbox is first');
  server.sockets[0]!.deliver({ id: server.sockets[0]!.sent.find((frame) => frame['publish'])!['id'], published: { channel: 'c', key: 'k', epoch: 'e', offset: 1, time: 1, duplicate: false } });
  await until('a report', () => server.reports.length === 1);
  errors.report(error(1));
  server.reported = (accepted) => ({ reported: { accepted, dropped: 0, next_ms: 0 } });
  await until('it is sent again', () => errors.waiting.value.groups.length === 0);
  assert.deepEqual(names(server), [['Eb 1'], ['Eb 2']]);
});

test('an older gateway is not asked again on this connection', async (t) => {
  const server = new Server();
  server.reported = () => ({ error: { code: 'unknown_command', message: '"report" is not a command' } });
  const it = client(t, server);
  const errors = reporter(t, it);
  errors.report(error(1));
  await until('a report', () => server.reports.length === 1);
  errors.report(error(2));
  await new Promise((resolve) => { setTimeout(resolve, 300); });
  assert.deepEqual([server.reports.length, errors.waiting.value.groups.length], [1, 2]);
});

test('without seawall.report nothing is kept or sent', async (t) => {
  const server = new Server();
  server.flags = ['seawall.move'];
  const it = client(t, server);
  const errors = reporter(t, it);
  await online(it);
  errors.report(error(1));
  assert.equal(errors.waiting.value.groups.length, 0);
});

/** The groups in the storage. */
async function kept(): Promise<{ group: ErrorGroup }[]> {
  const database = await new Promise<IDBDatabase>((done) => { const request = indexedDB.open('seawall-reports'); request.onsuccess = () => done(request.result); });
  const request = database.transaction('groups', 'readwrite').objectStore('groups').getAll();
  return new Promise((done) => { request.onsuccess = () => { database.close(); done(request.result); }; });
}

/** `since`: only groups from this time on count. */
async function untilKept(count: number, since = 0): Promise<void> {
  let [found, isOver] = [-1, false];
  const look = async () => {
    while (found !== count && !isOver) found = (await kept()).filter(({ group }) => group.last >= since).length;
  };
  void look();
  await until(`${count} groups are kept`, () => found === count).finally(() => { isOver = true; });
}

test('fifty kinds of errors made offline arrive once, from the next page, and no living page is robbed', async (t) => {
  const [server, locks] = [new Server(), new Locks()];
  server.accepts = false;
  const tab = locks.tab();
  const offline = reports(client(t, server), { locks: tab.locks });
  for (let at = 0; at < GROUPS_MAX; at += 1) offline.report(error(at));
  offline.report(error(0));
  await untilKept(GROUPS_MAX);
  const early = reporter(t, client(t, server), { durable: true, locks: locks.tab().locks });
  await new Promise((resolve) => { setTimeout(resolve, 50); });
  assert.equal(early.waiting.value.groups.length, 0, 'the page lives');
  early.close();
  tab.die();
  server.accepts = true;
  const next = reporter(t, client(t, server), { durable: true, locks: locks.tab().locks });
  await until('all are sent', () => names(server).flat().length >= GROUPS_MAX && next.waiting.value.groups.length === 0);
  const sent = names(server).flat();
  assert.deepEqual([sent.length, new Set(sent).size, sent.includes('Ea 2'), server.reports.length], [GROUPS_MAX, GROUPS_MAX, true, 4]);
  await untilKept(0);
});

/** Opens a page like any other, and expects that it reports one error of its own and nothing else. */
async function nextPage(t: TestContext, server: Server): Promise<void> {
  const before = names(server).flat().length;
  const next = reporter(t, client(t, server), { durable: true, locks: null });
  next.report(error(999));
  await until('its own error is sent', () => names(server).flat().length > before && next.waiting.value.groups.length === 0);
  assert.deepEqual(names(server).flat().slice(before), ['Ejjj 1']);
  await untilKept(0);
  next.close();
}

test('what was sent is not sent again after the storage failed once', async (t) => {
  const server = new Server();
  server.accepts = false;
  const page = reporter(t, client(t, server), { durable: true, locks: null });
  page.report(error(1));
  await untilKept(1);
  const { put } = IDBObjectStore.prototype;
  let failures = 0;
  t.after(() => { IDBObjectStore.prototype.put = put; });
  IDBObjectStore.prototype.put = function fail() {
    IDBObjectStore.prototype.put = put;
    failures += 1;
    throw new Error('the disk is full');
  };
  page.report(error(1));
  await until('the failure', () => failures === 1);
  server.accepts = true;
  await until('it is sent', () => server.reports.length > 0 && page.waiting.value.groups.length === 0);
  await untilKept(0);
  page.close();
  assert.deepEqual(names(server), [['Eb 2']]);
  await nextPage(t, server);
});

test('groups that are too old or too many leave the storage', async (t) => {
  const server = new Server();
  server.accepts = false;
  for (const [from, age] of [[0, 8 * 86_400_000], [100, 0]] as const) {
    const page = reporter(t, client(t, server), { durable: true, locks: null, clock: { ...fast(), now: () => Date.now() - age } });
    for (let at = 0; at < GROUPS_MAX; at += 1) page.report(error(from + at));
    await untilKept(GROUPS_MAX, Date.now() - age - 3_600_000);
    page.close();
  }
  const page = reporter(t, client(t, server), { durable: true, locks: null });
  for (let at = 0; at < 10; at += 1) page.report(error(200 + at));
  await until('the groups of before', () => page.waiting.value.dropped === 10);
  await untilKept(GROUPS_MAX);
  assert.ok((await kept()).every(({ group }) => Date.now() - group.last < 86_400_000));
  server.accepts = true;
  await until('all are sent', () => page.waiting.value.groups.length === 0);
  await untilKept(0);
});

test('a page that ends before the answer to its report leaves nothing that was taken', async (t) => {
  const server = new Server();
  let answer = (_: object) => {};
  server.handle = ((handle) => function hold(socket, frame) {
    if (!frame['report']) return handle.call(server, socket, frame);
    server.reports.push(frame['report']);
    answer = (reported) => socket.deliver({ id: frame['id'], reported });
  } as Server['handle'])(server.handle);
  const page = reporter(t, client(t, server), { durable: true, locks: null });
  page.report(error(1));
  await until('the report', () => server.reports.length === 1);
  await untilKept(1);
  page.close();
  await untilKept(1);
  answer({ accepted: 1, dropped: 0, next_ms: 0 });
  await untilKept(0);
  delete (server as Partial<Server>).handle;
  await nextPage(t, server);
});

test('without storage, and with hooks that throw, errors are reported', async (t) => {
  const { open } = indexedDB;
  t.after(() => { indexedDB.open = open; });
  indexedDB.open = () => { throw new DOMException('an opaque origin', 'SecurityError'); };
  const locks = { request: () => Promise.reject(new DOMException('an opaque origin', 'SecurityError')) };
  const server = new Server();
  const page = reporter(t, client(t, server), { durable: true, locks, context: () => { throw new Error('a fault of the app'); } });
  page.report(error(1));
  await until('it is sent', () => server.reports.length === 1 && page.waiting.value.groups.length === 0);
  assert.equal(server.reports[0]!.errors[0]!['message'], 'An error that cannot be described');
});

test('a report has at most 16 errors and fits, and what was sent is removed while new ones stay', () => {
  const text = (max: number) => fc.string({ maxLength: max, unit: 'binary' });
  const group = fc.record({ name: text(60), message: text(500), stack: text(4_000), component: text(1_800), count: fc.integer({ min: 1, max: 9 }) })
    .map((one, at = 0): ErrorGroup => ({ ...one, fingerprint: `${one.name}${one.message}${at}`, level: 'message', first: 1, last: 2, context: {} }));
  fc.assert(fc.property(fc.uniqueArray(group, { maxLength: 30, selector: ({ fingerprint }) => fingerprint }), fc.integer({ min: 200, max: 30_000 }), (groups, room) => {
    const { sent, errors } = batch(groups, room);
    assert.ok(errors.length <= 16 && sent.length >= errors.length && (groups.length === 0 || sent.length > 0));
    assert.ok(errors.length === 0 || Buffer.byteLength(JSON.stringify(errors)) <= room);
    assert.deepEqual(sent, groups.slice(0, sent.length));
    const later = groups[0] ? add({ groups, dropped: 2 }, { ...groups[0], count: 1 }) : NO_ERRORS;
    const left = without(later, sent, 1);
    assert.deepEqual([left.groups.length, left.dropped], groups[0] ? [groups.length - sent.length + 1, 1] : [0, 0]);
  }), { numRuns: 30 });
});
