/** The code in docs/moving-agents.md, before and after the move, with the same run of an agent and a connection that is lost in the middle. */

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import WebSocket, { WebSocketServer } from 'ws';
import { connect, type Channel } from '../src/index.js';
import { Gateway, missing, until } from './gateway.js';

const here = fileURLToPath(new URL('../../', import.meta.url));
const guide = readFileSync(join(here, '../../docs/moving-agents.md'), 'utf8');

/** Writes the one block of this language that contains a text into a file, in a folder from which the packages are found. */
function block(t: TestContext, language: string, text: string): string {
  const found = [...guide.matchAll(/^```(\w+)\n(.*?)^```$/gms)].filter(([, is, body]) => is === language && body!.includes(text));
  assert.equal(found.length, 1, `docs/moving-agents.md has one ${language} block with ${text}`);
  mkdirSync(join(here, '.tests'), { recursive: true });
  const folder = mkdtempSync(join(here, '.tests', 'moving-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, language === 'js' ? 'block.mjs' : 'block.py');
  writeFileSync(path, found[0]![2]!);
  return path;
}

interface Shown { text: string; doing?: string; state?: string }

const RUN = [
  { type: 'agent_started', payload: { agent_name: 'triage', run_id: 'r1' } },
  { type: 'agent_thinking', payload: { thought: 'It is about light.', step_number: 1, total_steps: 2 } },
  { type: 'tool_executing', payload: { tool_name: 'search' } },
  { type: 'tool_completed', payload: { tool_name: 'search', results: ['Rayleigh'] } },
  { type: 'partial_result', payload: { content: 'Light sca', is_complete: false } },
  { type: 'partial_result', payload: { content: 'tters: λ⁻⁴ 🌈.', is_complete: true } },
  { type: 'agent_completed', payload: { result: 'Light scatters: λ⁻⁴ 🌈.' } },
] as const;
const TEXT = RUN[6].payload.result;

test('before: a connection that is lost in the middle doubles the text, because the last event is sent again', async (t) => {
  const { before } = await import(block(t, 'js', 'function before')) as { before: (socket: unknown, show: (shown: Shown) => void) => void };
  const product = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  t.after(() => product.close());
  const sent: string[] = [];
  // As products do it: events that were not acknowledged when the connection was lost are sent on the next one.
  product.on('connection', (peer) => {
    const events = sent.length ? RUN.slice(4, 6) : RUN.slice(0, 5);
    for (const event of events) peer.send(JSON.stringify(event));
    sent.push(...events.map(({ type }) => type));
    if (sent.length === 5) peer.close();
  });
  await new Promise((done) => { product.on('listening', done); });
  const shown: Shown[] = [];
  const socket = new EventTarget();
  before(socket, (one) => shown.push(one));
  const dial = () => {
    const peer = new WebSocket(`ws://127.0.0.1:${(product.address() as AddressInfo).port}`);
    t.after(() => peer.terminate());
    peer.on('message', (data) => socket.dispatchEvent(new MessageEvent('message', { data: String(data) })));
    return new Promise((closed) => { peer.on('close', closed); });
  };
  await dial();
  void dial();
  await until('the rest', () => shown.at(-1)?.text.endsWith('🌈.') === true);
  assert.deepEqual(shown.slice(0, 2), [{ text: '', doing: 'It is about light.' }, { text: '', doing: 'search' }]);
  assert.equal(shown.at(-1)!.text, `Light sca${TEXT}`);
});

test('after: a gateway that is killed in the middle changes nothing, and every state is shown', { skip: missing }, async (t) => {
  const { after } = await import(block(t, 'js', 'function after')) as { after: (room: Channel, show: (shown: Shown) => void) => void };
  const gateway = new Gateway();
  await gateway.start();
  t.after(() => gateway.stop());
  const reader = connect(gateway.url, { WebSocket });
  t.after(() => reader.close());
  const shown: Shown[] = [];
  const room = reader.channel('thread.7');
  after(room, (one) => shown.push(one));
  await until('live', () => room.state.value.phase === 'live');
  const env = { ...process.env, PYTHONPATH: fileURLToPath(new URL('../../../../examples', import.meta.url)), PYTHONDONTWRITEBYTECODE: '1' };
  const agent = spawn('python3', [block(t, 'python', 'agent_thinking'), gateway.url, 'thread.7', 'r1'], { env, stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => agent.kill('SIGKILL'));
  let out = '';
  agent.stdout.on('data', (text) => { out += text; });
  const say = (from: number, to: number) => agent.stdin.write(RUN.slice(from, to).map((event) => `data: ${JSON.stringify(event)}\n`).join(''));
  say(0, 3);
  await until('the tool', () => shown.at(-1)?.doing === 'search');
  say(3, 5);
  await until('some text', () => shown.at(-1)?.text === 'Light sca');
  await gateway.end('SIGKILL');
  await gateway.start();
  say(5, 7);
  await until('the end', () => shown.at(-1)?.state === 'completed' && out === 'completed\n');
  assert.deepEqual(shown.at(-1), { text: TEXT, doing: 'search', state: 'completed' });
  assert.ok(shown.every(({ text }) => TEXT.startsWith(text)), 'every text is a beginning of the whole');
});

test('after, with a route: the lines of the response are the answer', { skip: missing }, async (t) => {
  const { after } = await import(block(t, 'js', 'function after')) as { after: (room: Channel, show: (shown: Shown) => void) => void };
  const code = `import json, sys\n${readFileSync(block(t, 'python', 'def line'), 'utf8')}\nfor event in json.load(sys.stdin):\n    print(json.dumps(line(event)))\n`;
  const lines = execFileSync('python3', ['-c', code], { input: JSON.stringify(RUN), encoding: 'utf8' });
  const service = createServer((request, response) => {
    request.resume().on('end', () => response.writeHead(200, { 'Content-Type': 'application/x-ndjson' }).end(lines));
  });
  await new Promise<void>((done) => { service.listen(0, '127.0.0.1', done); });
  t.after(() => { service.closeAllConnections(); service.close(); });
  const route = `[[relay]]\nname = "agents"\npattern = "thread.*"\nurl = "http://127.0.0.1:${(service.address() as AddressInfo).port}/"\nsecrets = ["env:RELAY_SECRET"]\nuser = "agents"\n`;
  const gateway = new Gateway({ RELAY_SECRET: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw' }, route);
  await gateway.start();
  t.after(() => gateway.stop());
  const reader = connect(gateway.url, { WebSocket });
  t.after(() => reader.close());
  const shown: Shown[] = [];
  const room = reader.channel('thread.7');
  after(room, (one) => shown.push(one));
  await room.publish({ text: 'Why is the sky blue?' });
  await until('the end', () => shown.at(-1)?.state === 'completed');
  assert.equal(shown.at(-1)!.text, TEXT);
});
