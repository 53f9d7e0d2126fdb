// Answers that a backend of the relay gives, in the page: examples/relay_agent.py answers each question with its own words.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { close, open, person, SOON_MS, Tab } from './support/browser.mjs';
import { Gateway } from './support/gateway.mjs';
import { until } from './support/until.mjs';

const AGENT = fileURLToPath(new URL('../../../examples/relay_agent.py', import.meta.url));
const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';

before(open);
after(close);

/** Starts the backend. Returns its port. */
async function agent(t, port = 0) {
  const child = spawn('python3', [AGENT, String(port)], { env: { ...process.env, RELAY_SECRET: SECRET, PYTHONDONTWRITEBYTECODE: '1' }, stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  let out = '';
  child.stdout.on('data', (text) => { out += text; });
  await until('the backend listens', SOON_MS, () => out.includes('/seawall\n'));
  return Number(/127\.0\.0\.1:(\d+)/.exec(out)[1]);
}

/** A port that refuses connections until an agent listens there, and that no other process is given meanwhile. */
async function heldPort(t) {
  const script = 'import socket, time; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); '
    + 's.bind(("127.0.0.1", 0)); print(s.getsockname()[1], flush=True); time.sleep(3600)';
  const child = spawn('python3', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const [port] = await once(child.stdout, 'data');
  return Number(port);
}

const gateway = (t, port, more = '') => Gateway.start(t, {
  env: { RELAY_SECRET: SECRET },
  toml: `[[relay]]\nname = "assistant"\npattern = "lobby"\nurl = "http://127.0.0.1:${port}/seawall"\nsecrets = ["env:RELAY_SECRET"]\nuser = "assistant"\n`
    + `[[dependency]]\nname = "assistant"\nkind = "tcp"\naddress = "127.0.0.1:${port}"\ncriticality = "optional"\nlost = ["replies"]\nsentence = "Assistant replies are paused."\n`
    + `interval_ms = 200\ntimeout_ms = 2000\nfailures = 1\nsuccesses = 1\n${more}`,
});

const shown = (tab) => tab.page.evaluate(() => {
  const one = [...document.querySelectorAll('.sw-answer')].at(-1);
  const text = one?.querySelector('.text') ?? one?.querySelector('.sw-answer-text');
  return { state: one?.dataset.state, text: text?.textContent ?? '', note: one?.querySelector('.sw-note span')?.textContent ?? '' };
});
const says = (tab, state) => tab.sees(`the answer is ${state}`, () => shown(tab), (one) => one.state === state, 2 * SOON_MS);

test('a page that is reloaded at ten moments of an answer shows beginnings of it, and then the whole', async (t) => {
  const it = await gateway(t, await agent(t));
  const tab = await Tab.open(t, await person(t), it);
  const question = Array.from({ length: 180 }, (_, word) => `wörd${word}`).join(' ');
  const whole = `You said: ${question}`;
  await tab.say(question);
  let before = 0;
  for (let moment = 0; moment < 10; moment += 1) {
    const { text } = await tab.sees('the answer grows', () => shown(tab), (one) => one.text.length > before || one.state === 'completed');
    assert.ok(whole.startsWith(text) && text.length >= before, text);
    before = text.length;
    await tab.page.reload();
  }
  await says(tab, 'completed');
  assert.equal((await shown(tab)).text, whole);
});

test('a question waits for its backend in words, is refused with a reason if too many wait, and is answered', async (t) => {
  const port = await heldPort(t);
  const it = await gateway(t, port, '[streams]\nopen_per_channel = 1\n');
  const tab = await Tab.open(t, await person(t), it);
  await tab.say('Why?');
  await tab.sees('it waits', () => shown(tab), (one) => one.state === 'accepted' && one.note === 'Sent. Waiting: answers are late…', 2 * SOON_MS);
  await tab.sees('the banner', () => tab.page.locator('.sw-banner').innerText(), (text) => text.includes('Assistant replies are paused.'));
  await tab.picture('relay-late');
  await tab.say('And?');
  await tab.line('And?', ({ state, progress }) => state === 'waiting' && /answers/.test(progress));
  await tab.picture('relay-overloaded');
  await agent(t, port);
  await tab.sees('both answers', () => tab.page.locator('.sw-answer[data-state=completed]').count(), (count) => count === 2, 3 * SOON_MS);
  assert.equal((await shown(tab)).text, 'You said: And?');
});

test('Stop ends an answer, and one whose gateway was killed is interrupted and can be asked for again', async (t) => {
  const it = await gateway(t, await agent(t), '[streams]\norphan_ms = 2000\n');
  const tab = await Tab.open(t, await person(t), it);
  const long = 'again and '.repeat(400);
  await tab.say(long);
  await tab.sees('the answer grows', () => shown(tab), (one) => one.state === 'streaming' && one.text.length > 20);
  await tab.settled();
  await tab.page.keyboard.press('Escape');
  await says(tab, 'cancelled');
  await tab.say(long);
  await tab.sees('the next answer grows', () => shown(tab), (one) => one.state === 'streaming' && one.text.length > 20);
  await it.kill();
  await it.restart();
  await says(tab, 'interrupted');
  await tab.page.getByRole('button', { name: 'Try again' }).last().click();
  await tab.sees('it is answered again', () => shown(tab), (one) => one.state === 'streaming' && one.text.length > 20);
});
