// Gateways that crash, leave and are replaced, as a person sees them: by a word about the connection, and by nothing else.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { close, open, person, Tab } from './support/browser.mjs';
import { Gateway } from './support/gateway.mjs';
import { Peer } from './support/peer.mjs';

before(open);
after(close);

test('a gateway that is killed and started again is noticed, waited for, and nothing is missing', async (t) => {
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

test('a gateway that leaves on purpose says so, and its successor has everything', async (t) => {
  const gateway = await Gateway.start(t);
  const tab = await Tab.open(t, await person(t), gateway);
  await tab.say('before');
  await tab.reads(['before']);
  gateway.drain();
  assert.deepEqual(await gateway.left(), { code: 0, signal: null });
  await tab.state(/restart/);
  await gateway.restart();
  await tab.state(/online/);
  await tab.say('after');
  await tab.reads(['before', 'after']);
});

test('another gateway on the same address, with another log, says that what stood here may be gone', async (t) => {
  const gateway = await Gateway.start(t);
  const tab = await Tab.open(t, await person(t), gateway);
  await tab.say('in the old log');
  await tab.reads(['in the old log']);
  await gateway.kill();
  await tab.say('waited');
  const successor = await Gateway.start(t, { port: gateway.port });
  await tab.state(/online/);
  await tab.sees('a word about it', tab.shown, (text) => /restored/.test(text));
  await tab.line('waited', (line) => line.state === 'sent' && line.progress === '');
  const peer = await Peer.connect(t, successor);
  assert.deepEqual((await peer.stored('lobby')).map((publication) => publication.data.text), ['waited']);
});
