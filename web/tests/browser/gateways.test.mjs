// Gateways that crash, drain and are replaced: a person sees only the state of the connection change.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { close, open, person, Tab } from './support/browser.mjs';
import { Gateway } from './support/gateway.mjs';
import { Link } from './support/link.mjs';
import { Peer } from './support/peer.mjs';
import { postgres } from './support/postgres.mjs';

/** Drain settings short enough for a test. It exits as soon as all are closed, and with another code if a slow machine has not closed one by the last time. */
const DRAIN = {
  SEAWALL_DRAIN_ACCEPT_MS: '300', SEAWALL_DRAIN_SPREAD_MS: '2000', SEAWALL_DRAIN_CLOSE_MS: '4000', SEAWALL_DRAIN_EXIT_MS: '30000',
  SEAWALL_DRAIN_RETURN_MS: '1000',
};

before(open);
after(close);

test('the page reconnects to a killed and restarted gateway, and no message is missing', async (t) => {
  const gateway = await Gateway.start(t);
  const tab = await Tab.open(t, await person(t), gateway);
  await tab.say('before');
  await tab.reads(['before']);
  await gateway.kill();
  await tab.state(/reconnecting/);
  await tab.say('while it was away');
  await tab.line('while it was away', (line) => line.state === 'waiting');
  assert.deepEqual(await tab.texts(), ['before', 'while it was away']);
  await tab.picture('killed');
  await gateway.restart();
  await tab.state(/online/);
  await tab.reads(['before', 'while it was away']);
  const peer = await Peer.connect(t, gateway);
  await peer.say('lobby', 'from a peer');
  await tab.reads(['before', 'while it was away', 'from a peer']);
});

test('the page shows that the gateway restarts, and its successor has every message', async (t) => {
  const gateway = await Gateway.start(t, { env: DRAIN });
  const tab = await Tab.open(t, await person(t), gateway);
  await tab.say('before');
  await tab.reads(['before']);
  await tab.watch();
  gateway.drain();
  assert.deepEqual(await gateway.left(), { code: 0, signal: null });
  await tab.sees('the restart', tab.seen, (all) => all.some(({ text }) => /reconnecting: the gateway is restarting/.test(text)));
  await gateway.restart();
  await tab.state(/online/);
  await tab.say('after');
  await tab.reads(['before', 'after']);
});

test('a gateway with a new log on the same address is shown as a reset of the channel', async (t) => {
  const gateway = await Gateway.start(t);
  const tab = await Tab.open(t, await person(t), gateway);
  await tab.say('in the old log');
  await tab.reads(['in the old log']);
  await gateway.kill();
  await tab.say('waited');
  const successor = await Gateway.start(t, { port: gateway.port });
  await tab.state(/online/);
  await tab.sees('the reset', tab.shown, (text) => /was reset/.test(text));
  await tab.line('waited', (line) => line.state === 'sent' && line.progress === '');
  const peer = await Peer.connect(t, successor);
  assert.deepEqual((await peer.stored('lobby')).map((publication) => publication.data.text), ['waited']);
});

test('with two gateways on one database, a drain moves the page without a gap, an offline state or a duplicate', async (t) => {
  // It ends once all have moved. On a slow machine that takes longer than the other tests allow.
  const env = { SEAWALL_STORE_URL: await postgres(t), ...DRAIN, SEAWALL_DRAIN_CLOSE_MS: '25000' };
  const [leaves, stays] = [await Gateway.start(t, { env }), await Gateway.start(t, { env })];
  const link = await Link.open(t, leaves);
  const tab = await Tab.open(t, await person(t), link);
  await tab.state(/online/);
  await tab.say('before');
  await tab.reads(['before']);
  await tab.watch();
  link.leadTo(stays);
  const peer = await Peer.connect(t, stays);
  const texts = ['before'];
  leaves.drain();
  let isOver = false;
  const over = leaves.left().finally(() => { isOver = true; });
  // The page draws 150 messages at most, and moves within 2.3 s: on the fastest machine these still take longer.
  for (let count = 1; !isOver && count < 100; count += 1) {
    await pause(30);
    const mine = count % 2 === 0;
    const text = `${mine ? 'mine' : 'theirs'} ${count}`;
    texts.push(text);
    if (mine) {
      await tab.say(text);
      await tab.line(text, (line) => line.state === 'sent' && line.progress === '');
    } else {
      await peer.say('lobby', text);
    }
  }
  assert.deepEqual(await over, { code: 0, signal: null });
  await tab.reads(texts);
  assert.deepEqual([...new Set((await tab.seen()).map(({ state }) => state))], ['online']);
  assert.deepEqual((await peer.stored('lobby')).map((publication) => publication.data.text), texts);
});
