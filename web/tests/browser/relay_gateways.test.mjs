// Answers of a backend with two gateways on one PostgreSQL and one Redis: one of them reads the response, and the page may be at either.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { isGrowth, PIECES, reads, record, recorded, says, shown, WHOLE } from './support/answer.mjs';
import { Backend } from './support/backend.mjs';
import { close, open, person, SOON_MS, Tab } from './support/browser.mjs';
import { Gateway } from './support/gateway.mjs';
import { Link } from './support/link.mjs';
import { Peer } from './support/peer.mjs';
import { postgres } from './support/postgres.mjs';
import { redis } from './support/redis.mjs';
import { until } from './support/until.mjs';

/** No answer ends because a machine is slow. */
const SLOW = '[streams]\nidle_ms = 300000\nlife_ms = 3600000\n';
/** The silence after which an answer is interrupted whose gateway was killed, by another one that then waits for as long and a third more. */
const SHORT = '[streams]\nidle_ms = 6000\n';
const TAKEN_OVER_MS = 180_000;

before(open);
after(close);

/** One number of a gateway's metrics. */
async function metric(gateway, name) {
  const text = await (await fetch(`${gateway.url}/metrics`)).text();
  return Number(text.split('\n').find((line) => line.startsWith(`${name} `))?.slice(name.length + 1));
}

/** Two gateways with a route to the backend. */
async function both(t, backend, streams) {
  const setup = {
    env: { SEAWALL_STORE_URL: await postgres(t), SEAWALL_BUS_URL: await redis(t) },
    toml: `[[relay]]\nname = "assistant"\npattern = "lobby"\nurl = "http://127.0.0.1:${backend.port}/seawall"\nsecrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]\n`
      + `user = "assistant"\ntimeout_ms = 60000\n${streams}`,
  };
  return [await Gateway.start(t, setup), await Gateway.start(t, setup)];
}

/** Asks in a tab that reaches the gateways through a link, and moves the tab to the gateway that does not read the response. */
async function asked(t, gateways, backend, question) {
  const link = await Link.open(t, gateways[0]);
  const context = await person(t);
  await context.addInitScript(record);
  const tab = await Tab.open(t, context, link);
  await tab.state(/^online/);
  await tab.isWhole();
  await tab.say(question);
  const response = await backend.question();
  const reader = await until('a gateway reads the response', SOON_MS, async () => {
    const reading = await Promise.all(gateways.map((gateway) => metric(gateway, 'seawall_relay_inflight{route="assistant"}')));
    return reading.filter((count) => count > 0).length === 1 && gateways[reading.findIndex((count) => count > 0)];
  });
  const rest = gateways.find((gateway) => gateway !== reader);
  link.leadTo(rest);
  if (reader === gateways[0]) {
    link.cut();
    link.release();
  }
  await until('the page is at the other gateway', 2 * SOON_MS, async () => await metric(rest, 'seawall_connections') > await metric(rest, 'seawall_connections_unconnected'));
  await tab.state(/^online/, 2 * SOON_MS);
  return { link, context, tab, response, reader, rest };
}

/** The text with which the log has the end of the answer. */
async function stored(t, gateway, offset) {
  const peer = await Peer.connect(t, gateway);
  return (await peer.stored('lobby')).find((one) => one.edits === offset)?.data.text;
}

test('a page that is reloaded ten times, and whose gateway is killed, goes on with the answer at the other one', async (t) => {
  const backend = await Backend.open(t);
  const { link, context, tab, response, reader, rest } = await asked(t, await both(t, backend, SLOW), backend, 'Why?');
  const other = await Tab.open(t, context, reader);
  await says(other, 'processing');
  await other.isWhole();
  let text = '';
  for (const [index, piece] of PIECES.entries()) {
    text += piece;
    response.write(piece);
    await reads(other, text);
    await reads(tab, text);
    if (index === 4) {
      await rest.kill();
      link.leadTo(reader);
    } else {
      await tab.page.reload();
    }
    await reads(tab, text, 2 * SOON_MS);
  }
  await tab.picture('relay-streaming');
  response.end();
  for (const each of [tab, other]) {
    await says(each, 'completed');
    assert.equal((await shown(each)).text, WHOLE);
  }
  await tab.picture('relay-completed');
  assert.equal(await stored(t, reader, response.offset), WHOLE);
  const { texts, states } = await recorded(other);
  assert.ok(isGrowth(texts, WHOLE), JSON.stringify(texts));
  assert.ok(states.every((one) => ['accepted', 'processing', 'streaming', 'completed'].includes(one)), states.join());
});

test('Stop at the gateway that does not read the response ends the answer in both tabs, and the backend is notified', async (t) => {
  const backend = await Backend.open(t);
  const { context, tab, response, reader } = await asked(t, await both(t, backend, SLOW), backend, 'Why?');
  const other = await Tab.open(t, context, reader);
  response.write(PIECES[0]);
  for (const each of [tab, other]) await reads(each, PIECES[0]);
  await tab.page.getByRole('button', { name: 'Stop' }).click();
  for (const each of [tab, other]) {
    await says(each, 'cancelled', 'Stopped.');
    assert.equal((await shown(each)).text, PIECES[0]);
  }
  await tab.picture('relay-cancelled');
  await until('the response is closed', SOON_MS, () => response.isClosed);
  await until('the backend is notified', SOON_MS, () => backend.cancelled.includes(response.offset));
  assert.equal(await stored(t, reader, response.offset), PIECES[0]);
});

test('an answer whose gateway is killed while it reads the response is interrupted, and the other one answers when asked again', async (t) => {
  const backend = await Backend.open(t);
  const { tab, response, reader, rest } = await asked(t, await both(t, backend, SHORT), backend, 'Why?');
  response.write(PIECES[0]);
  await reads(tab, PIECES[0]);
  await reader.kill();
  await says(tab, 'interrupted', 'This answer was interrupted.', TAKEN_OVER_MS);
  assert.equal((await shown(tab)).text, PIECES[0]);
  assert.equal(await stored(t, rest, response.offset), PIECES[0]);
  await tab.picture('relay-interrupted');
  await tab.page.getByRole('button', { name: 'Try again' }).click();
  const again = await backend.question();
  assert.equal(again.text, 'Why?');
  assert.notEqual(again.offset, response.offset);
  for (const piece of PIECES) again.write(piece);
  again.end();
  await says(tab, 'completed');
  assert.equal((await shown(tab)).text, WHOLE);
  assert.equal(await stored(t, rest, again.offset), WHOLE);
});
