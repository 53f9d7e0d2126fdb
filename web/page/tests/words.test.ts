import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Ending, OutboxEntry, Session, State } from 'seawall-client';
import { banner, connection, gap, progress } from '../src/words.ts';

const session = (user: string): Session =>
  ({ user, connection: 'c', instance: 'i', limits: { frameBytes: 0, publishesPerSecond: 0, publishesBurst: 0, subscriptions: 0 } });
const lost: Ending = { code: 1006, reason: 'lost', message: '' };
const entry = (state: OutboxEntry['state'], more: Partial<OutboxEntry> = {}): OutboxEntry =>
  ({ key: 'k', channel: 'c', data: null, at: 0, state, ...more });

test('each connection state has its text', () => {
  const states: [State, string, string][] = [
    [{ phase: 'connecting', attempt: 0 }, 'connecting', 'connecting'],
    [{ phase: 'connecting', attempt: 2, because: lost }, 'connecting', 'reconnecting: the connection was lost'],
    [{ phase: 'online', session: session('anonymous') }, 'online', 'online'],
    [{ phase: 'online', session: session('ann') }, 'online', 'online as ann'],
    [{ phase: 'moving', session: session('ann') }, 'online', 'online as ann, moving to another gateway'],
    [{ phase: 'waiting', attempt: 1, until: 5, because: { code: 1012, reason: 'restart', message: '' } }, 'waiting', 'reconnecting: the gateway is restarting'],
    [{ phase: 'offline', attempt: 1, until: 5, because: lost }, 'waiting', 'offline: this device has no network'],
    [{ phase: 'closed', because: { code: 4505, reason: 'unsupported_version', message: '' } }, 'stopped',
      'stopped: this page and the gateway have different versions. Reload this page.'],
  ];
  for (const [state, kind, text] of states) {
    const shown = connection(state, true);
    assert.deepEqual([shown.state, shown.text], [kind, text]);
    assert.equal(shown.retryAt, state.phase === 'waiting' ? 5 : undefined);
  }
});

test('an outage is shown with its dependency and reference', () => {
  const because: Ending = { code: 1011, reason: 'unavailable', message: '', dependency: 'store', reference: 'k3f9' };
  assert.equal(connection({ phase: 'waiting', attempt: 1, until: 5, because }, true).text,
    'reconnecting: store is unavailable (reference k3f9)');
});

test('an unknown reason is shown in the words of the library', () => {
  const because: Ending = { code: 4499, reason: 'moon_phase', message: 'The moon is full.' };
  assert.equal(connection({ phase: 'waiting', attempt: 1, until: 5, because }, true).text, 'reconnecting: The moon is full');
});

test('a token is asked for when it is missing or refused', () => {
  const because: Ending = { code: 4501, reason: 'unauthenticated', message: 'the token ended' };
  assert.ok(connection({ phase: 'closed', because }, true).needsToken);
  assert.equal(connection({ phase: 'closed', because }, true).text, 'stopped: the token ended. Enter a valid token.');
  assert.equal(connection({ phase: 'closed', because }, false).text, 'stopped: a token is required. Paste yours below.');
  assert.ok(!connection({ phase: 'closed', because: lost }, true).needsToken);
  const again = connection({ phase: 'waiting', attempt: 1, until: 5, because }, true);
  assert.deepEqual([again.state, again.text, again.needsToken], ['stopped', 'stopped: the token ended. Enter a valid token.', true],
    'at once, while the library tries it again');
});

test('the banner shows the message of the gateway, or else the lost capabilities or the dependencies', () => {
  const status = { level: 'degraded', revision: 1, lost: ['replies'], dependencies: [] } as const;
  assert.equal(banner({ ...status, level: 'ok' }), undefined);
  assert.deepEqual(banner(status), { level: 'degraded', text: 'Not available now: replies.' });
  assert.equal(banner({ ...status, message: 'Replies are paused.' })?.text, 'Replies are paused.');
  const backend = { name: 'backend', state: 'down', critical: true, since: 0 } as const;
  assert.equal(banner({ ...status, lost: [], dependencies: [backend] })?.text, 'Some services have problems: backend.');
});

test('each outbox state has its progress text', () => {
  const offline: State = { phase: 'waiting', attempt: 1, until: 5, because: lost };
  const online: State = { phase: 'online', session: session('ann') };
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

test('a gap notice shows the number of messages', () => {
  assert.equal(gap({ from: 3, to: 3, because: 'expired' }), 'One message here is no longer stored.');
  assert.equal(gap({ from: 3, to: 5, because: 'expired' }), '3 messages here are no longer stored.');
});
