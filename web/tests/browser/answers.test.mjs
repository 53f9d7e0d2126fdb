// Answers in the page at each moment of their lives: their text is that of the store, byte for byte, and their state is shown in words.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { isGrowth, PIECES, reads, record, recorded, says, shown, WHOLE } from './support/answer.mjs';
import { close, open, person, Tab } from './support/browser.mjs';
import { Gateway } from './support/gateway.mjs';
import { Writer } from './support/writer.mjs';

/** No stream ends because a machine is slow. */
const SLOW = '[streams]\nidle_ms = 300000\norphan_ms = 60000\n';

before(open);
after(close);

/** Opens a tab that records from its first moment. */
async function opened(t, context, gateway) {
  await context.addInitScript(record);
  const tab = await Tab.open(t, context, gateway);
  await tab.state(/^online/);
  // From then on the page follows streams, and takes what a test sends about one.
  await tab.isWhole();
  await tab.settled();
  return tab;
}

test('a page that is reloaded at ten moments of an answer, and one that is not, show what is stored', async (t) => {
  const gateway = await Gateway.start(t, { toml: SLOW });
  const [tab, other] = [await opened(t, await person(t), gateway), await opened(t, await person(t), gateway)];
  const writer = await Writer.begin(t, gateway, 'run-1');
  let text = '';
  for (const [index, piece] of PIECES.entries()) {
    text += piece;
    await writer.append(piece);
    await reads(other, text);
    if (index === 4) {
      await gateway.kill();
      await gateway.restart();
      assert.equal(await writer.join(), Buffer.byteLength(text), 'what was shown is stored');
    }
    await tab.page.reload();
    await reads(tab, text);
  }
  await writer.end();
  for (const each of [tab, other]) {
    await says(each, 'completed');
    assert.equal((await shown(each)).text, WHOLE);
  }
  const { texts, states } = await recorded(other);
  assert.ok(isGrowth(texts, WHOLE), JSON.stringify(texts));
  assert.ok(states.every((one) => ['streaming', 'paused', 'completed'].includes(one)), states.join());
});

test('Stop in one tab ends the answer in both', async (t) => {
  const gateway = await Gateway.start(t, { toml: SLOW });
  const context = await person(t);
  const [tab, other] = [await opened(t, context, gateway), await opened(t, context, gateway)];
  const writer = await Writer.begin(t, gateway, 'run-1');
  await writer.append(PIECES[0]);
  for (const each of [tab, other]) await reads(each, PIECES[0]);
  await tab.page.getByRole('button', { name: 'Stop' }).click();
  // The writer takes no notice, so the gateway ends the answer.
  await tab.sees('it stops', () => recorded(tab), ({ states }) => states.includes('cancelling'));
  await tab.picture('answer-cancelling');
  for (const each of [tab, other]) {
    await says(each, 'cancelled', 'Stopped.');
    assert.equal((await shown(each)).text, PIECES[0]);
  }
  await assert.rejects(writer.append(PIECES[1]), /"ended"/);
});

test('an answer whose author is lost waits for it, and is interrupted if it does not come back', async (t) => {
  const gateway = await Gateway.start(t, { toml: '[streams]\norphan_ms = 4000\n' });
  const tab = await opened(t, await person(t), gateway);
  await tab.say('Why?');
  await tab.reads(['Why?']);
  const writer = await Writer.begin(t, gateway, 'run-1', { answers: 1 });
  await writer.event('tool_executing', { tool_name: 'search' });
  await says(tab, 'streaming', 'Tool executing…');
  await tab.picture('answer-tool');
  await writer.append(PIECES[0]);
  await reads(tab, PIECES[0]);
  writer.lose();
  await tab.sees('it waits', () => recorded(tab), ({ states }) => states.includes('paused'));
  await tab.picture('answer-paused');
  await says(tab, 'interrupted', 'This answer was interrupted.');
  assert.equal((await shown(tab)).text, PIECES[0]);
  await tab.page.getByRole('button', { name: 'Try again' }).click();
  await tab.sees('the question is asked again', () => tab.page.locator('.message.own .text').count(), (count) => count === 2);
  const failing = await Writer.begin(t, gateway, 'run-2', { answers: 1 });
  await failing.end('failed');
  await says(tab, 'failed', 'This answer failed.');
  await tab.picture('answer-failed');
});

/** Puts a test between the page and the gateway: it sends frames of its own, and replies to publications in place of the gateway. */
async function between(context) {
  const it = { push: () => {}, refuses: undefined };
  await context.routeWebSocket(/\/ws/, (page) => {
    const gateway = page.connectToServer();
    page.onMessage((text) => {
      const { id, publish } = JSON.parse(text);
      if (publish && it.refuses) page.send(JSON.stringify({ id, error: it.refuses }));
      else gateway.send(text);
    });
    gateway.onMessage((text) => page.send(text));
    it.push = (frame) => page.send(JSON.stringify(frame));
  });
  return it;
}

test('an answer that waits for its backend says so, and that answers are late while they are', async (t) => {
  const gateway = await Gateway.start(t, { toml: SLOW });
  const context = await person(t);
  const it = await between(context);
  const tab = await opened(t, context, gateway);
  const writer = await Writer.begin(t, gateway, 'run-1');
  await says(tab, 'streaming');
  const stream = (state) => it.push({ stream: { channel: 'lobby', offset: writer.offset, gen: 1, state } });
  stream('accepted');
  await says(tab, 'accepted', 'Sent. Waiting…');
  await tab.picture('answer-accepted');
  const status = (level, lost, more = {}) => it.push({ status: { level, revision: 99, dependencies: [], lost, ...more } });
  status('degraded', ['replies'], { message: 'Assistant replies are paused.' });
  await says(tab, 'accepted', 'Sent. Waiting: answers are late…');
  await tab.sees('the banner', () => tab.page.locator('.sw-banner').innerText(), (text) => text.includes('Assistant replies are paused.'));
  await tab.picture('answer-late');
  status('ok', []);
  await says(tab, 'accepted', 'Sent. Waiting…');
  stream('processing');
  await says(tab, 'processing', 'Received. Waiting…');
  await tab.picture('answer-processing');
  await writer.append(PIECES[0]);
  await says(tab, 'streaming', 'Writing…');
  await writer.end();
  await says(tab, 'completed');
});

test('a question that is refused because too many answers are open says why, and is sent later', async (t) => {
  const gateway = await Gateway.start(t);
  const context = await person(t);
  const it = await between(context);
  const tab = await opened(t, context, gateway);
  it.refuses = { code: 'overloaded', message: '16 answers are open in this channel.', retry_ms: 1_000 };
  await tab.say('Why?');
  const line = await tab.line('Why?', ({ state, progress }) => state === 'waiting' && progress !== '' && progress !== 'sending…');
  assert.equal(line.progress, 'waiting: 16 answers are open in this channel. It will be sent again automatically.');
  await tab.picture('question-overloaded');
  it.refuses = undefined;
  await tab.reads(['Why?']);
});
