// Answers in the page while they are written, by examples/echo_agent.py: reload, two tabs, a killed gateway, Escape, "Try again".

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { close, open, person, SOON_MS, Tab } from './support/browser.mjs';
import { Gateway } from './support/gateway.mjs';
import { until } from './support/until.mjs';

const AGENT = fileURLToPath(new URL('../../../examples/echo_agent.py', import.meta.url));
const axe = readFileSync(new URL('../../node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');

before(open);
after(close);

/** Starts the program, and waits until it answers in the lobby. */
async function agent(t, gateway) {
  const child = spawn('python3', [AGENT, gateway.url.replace('http', 'ws') + '/ws', 'lobby'], { env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' } });
  t.after(() => child.kill('SIGKILL'));
  let out = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => { out += text; });
  await until('the program answers', SOON_MS, () => out.includes('answering #lobby'));
  return child;
}

/** Returns the answers from top to bottom: `{state, text, note}`. */
const answers = (tab) => tab.page.locator('.sw-answer').evaluateAll((all) => all.map((one) => ({
  state: one.dataset.state, text: one.querySelector('.sw-answer-text')?.innerText ?? '', note: one.querySelector('.sw-note')?.innerText ?? '',
})));
const last = async (tab) => (await answers(tab)).at(-1);

test('an answer grows in every tab, over a reload and a killed gateway, to the whole text', async (t) => {
  const gateway = await Gateway.start(t);
  await agent(t, gateway);
  const context = await person(t);
  const [tab, other] = [await Tab.open(t, context, gateway), await Tab.open(t, await person(t), gateway)];
  const question = Array.from({ length: 120 }, (_, word) => `wörd${word}`).join(' ');
  const whole = `You said: ${question}`;
  await tab.say(question);
  // Until a tab is asked, the answer may be whole.
  await tab.sees('the answer grows', () => last(tab), (one) => one?.text.length > 20);
  await other.sees('the answer', () => last(other), (one) => one?.text.length > 20);
  await tab.page.reload();
  const { text } = await tab.sees('the answer after a reload', () => last(tab), (one) => one?.text.length > 60);
  assert.ok(whole.startsWith(text), text);
  await gateway.kill();
  await gateway.restart();
  for (const each of [tab, other]) {
    await each.sees('the whole answer', () => last(each), (one) => one?.state === 'completed', 2 * SOON_MS);
    assert.equal((await last(each)).text, whole);
    assert.equal((await answers(each)).length, 1);
  }
});

test('Escape stops an answer, and one whose author is gone ends by itself and can be asked for again', async (t) => {
  const gateway = await Gateway.start(t, { toml: '[streams]\norphan_ms = 1500\n' });
  const child = await agent(t, gateway);
  const context = await person(t, { viewport: { width: 360, height: 640 }, colorScheme: 'dark' });
  const tab = await Tab.open(t, context, gateway);
  // A minute of words: axe takes its time on a slow machine.
  const long = 'again and '.repeat(600);
  await tab.say(long);
  await tab.sees('the answer grows', () => last(tab), (one) => one?.state === 'streaming' && one.text.length > 20);
  await tab.page.evaluate(axe);
  const { violations } = await tab.page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  assert.deepEqual(violations.filter(({ impact }) => impact === 'serious' || impact === 'critical').map(({ id }) => id), []);
  assert.ok(await tab.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing overflows');
  await tab.picture('answer-streaming');
  await tab.settled();
  await tab.page.keyboard.press('Escape');
  await tab.sees('it stops', () => last(tab), (one) => one.state === 'cancelled' && one.note === 'Stopped.');
  await tab.say(long);
  await tab.sees('the next answer grows', () => last(tab), (one) => one?.state === 'streaming' && one.text.length > 20);
  child.kill('SIGKILL');
  await tab.sees('it is interrupted', () => last(tab), (one) => one.state === 'interrupted');
  await tab.picture('answer-interrupted');
  await tab.page.getByRole('button', { name: 'Try again' }).click();
  await tab.sees('the question is asked again', () => tab.page.locator('.message.own .text').count(), (count) => count === 3);
});
