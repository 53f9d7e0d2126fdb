import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Ending, OutboxEntry } from 'seawall-client';
import { plugsOf } from '../src/plug.ts';
import { accountOf, connection, outage, progress, unsent } from '../src/words.ts';
import { works } from '../src/works.ts';

const lost: Ending = { code: 1006, reason: 'lost', message: '' };
const entry = (state: OutboxEntry['state'], more: Partial<OutboxEntry> = {}): OutboxEntry =>
  ({ key: 'k', channel: 'c', data: null, at: 0, state, ...more });

test('each connection state has its text', () => {
  const states: [Parameters<typeof connection>[0], string, string][] = [
    [{ phase: 'connecting' }, 'connecting', 'connecting'],
    [{ phase: 'connecting', because: lost }, 'connecting', 'reconnecting: the connection was lost'],
    [{ phase: 'online', user: 'anonymous' }, 'online', 'online'],
    [{ phase: 'online', user: 'ann' }, 'online', 'online as ann'],
    [{ phase: 'waiting', because: { code: 1012, reason: 'restart', message: '' } }, 'waiting', 'reconnecting: the gateway is restarting'],
    [{ phase: 'offline', because: lost }, 'waiting', 'offline: this device has no network'],
    [{ phase: 'closed', because: { code: 4505, reason: 'unsupported_version', message: '' } }, 'stopped',
      'stopped: this page and the gateway have different versions. Reload this page.'],
  ];
  for (const [state, kind, text] of states) {
    const shown = connection(state, true);
    assert.deepEqual([shown.state, shown.text], [kind, text]);
  }
});

test('a move to another gateway is not worth a word', () => {
  assert.deepEqual(connection({ phase: 'moving', user: 'ann' }, true), connection({ phase: 'online', user: 'ann' }, true));
});

test('an outage is shown with its dependency and reference, and to a newcomer with the sentence of the gateway', () => {
  const because: Ending = { code: 1011, reason: 'unavailable', message: 'Messages cannot be sent at the moment.', dependency: 'store', reference: 'k3f9' };
  assert.equal(connection({ phase: 'waiting', because }, true).text, 'reconnecting: store is unavailable (reference k3f9)');
  assert.equal(outage(because), 'Messages cannot be sent at the moment.');
  assert.equal(outage({ ...because, message: 'The gateway ended the connection: unavailable (1011).' }), 'Store is unavailable.');
  assert.equal(outage(lost), 'The connection was lost.');
});

test('an unknown reason is shown in the words of the library', () => {
  const because: Ending = { code: 4499, reason: 'moon_phase', message: 'The moon is full.' };
  assert.equal(connection({ phase: 'waiting', because }, true).text, 'reconnecting: The moon is full');
});

test('a token is asked for when it is missing or refused', () => {
  const because: Ending = { code: 4501, reason: 'unauthenticated', message: 'the token ended' };
  assert.ok(connection({ phase: 'closed', because }, true).needsToken);
  assert.equal(connection({ phase: 'closed', because }, true).text, 'stopped: the token ended. Enter a valid token.');
  assert.equal(connection({ phase: 'closed', because }, false).text, 'stopped: a token is required');
  assert.ok(!connection({ phase: 'closed', because: lost }, true).needsToken);
  const again = connection({ phase: 'waiting', because }, true);
  assert.deepEqual([again.state, again.text, again.needsToken], ['stopped', 'stopped: the token ended. Enter a valid token.', true],
    'at once, while the library tries it again');
});

test('the list of what is lost is turned round, and is empty while nothing is', () => {
  assert.deepEqual(works([]), []);
  assert.deepEqual(works(['replies', 'price_list']).map(({ name, works }) => `${works ? '+' : '-'} ${name}`), ['+ Sending messages', '+ Earlier messages', '- Assistant replies', '- Price list']);
  assert.deepEqual(works(['publish', 'history']).filter((one) => one.works), []);
});

test('what waits and what failed is counted', () => {
  assert.deepEqual([unsent(0, 0), unsent(2, 0), unsent(0, 1), unsent(2, 1)], ['', '2 waiting', '1 failed', '2 waiting · 1 failed']);
});

test('an account is the subject of its token, or the token', () => {
  const token = (claims: unknown) => `x.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.x`;
  assert.deepEqual(['', 'opaque', token(null), token({ sub: 1 }), token({ sub: 'ann', exp: 2 })].map(accountOf), ['', 'opaque', token(null), token({ sub: 1 }), 'ann']);
});

test('the plugs are those of the newest message that has any, whatever others write', () => {
  const plugs = [{ name: 'network', out: false }];
  assert.deepEqual(plugsOf([{ data: { plugs } }, { data: { plugs: [null, 1, { name: {} }] } }, { data: { plugs: 'x' } }, { data: null }, {}]), plugs);
  assert.equal(plugsOf([{ data: { plugs: Array(99).fill(plugs[0]) } }]).length, 8);
  assert.deepEqual(plugsOf([{ data: 'x' }]), []);
});

test('each outbox state has its progress text', () => {
  const [offline, online] = [false, true];
  assert.deepEqual(progress(entry('queued'), offline, 'durable'), { state: 'waiting', note: 'it will be sent when the connection is back.' });
  assert.deepEqual(progress(entry('queued'), offline, 'memory'),
    { state: 'waiting', note: 'it will be sent when the connection is back. Keep this tab open.' });
  assert.deepEqual(progress(entry('queued'), online, 'durable'), { state: 'sending' });
  assert.deepEqual(progress(entry('queued', { error: { code: 'overloaded', message: 'too busy' } }), online, 'durable'),
    { state: 'waiting', note: 'too busy. It will be sent again automatically.' });
  assert.deepEqual(progress(entry('failed', { error: { code: 'forbidden', message: 'no right.' } }), online, 'durable'),
    { state: 'failed', note: 'no right.' });
  assert.deepEqual(progress(entry('sent'), online, 'durable'), { state: 'sent' });
});
