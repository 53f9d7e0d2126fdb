/**
 * The examples for the formats of models and agents, with the gateway. The providers are fakes that send what the documents of the real
 * ones show: the part before `|` at once, and the rest once a reader has seen that.
 */

import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import WebSocket from 'ws';
import * as agUi from '../examples/ag-ui.js';
import * as aiSdk from '../examples/ai-sdk.js';
import { connect } from '../src/index.js';
import { streams, type Stream } from '../src/streams.js';
import { Gateway, missing, until } from './gateway.js';

type Transcript = readonly (object | '|')[];
const OPENAI: Transcript = [
  { type: 'response.created', response: { id: 'resp_1', model: 'gpt-5', status: 'in_progress' } },
  { type: 'response.in_progress', response: { id: 'resp_1' } },
  { type: 'response.output_item.added', output_index: 0, item: { id: 'rs_1', type: 'reasoning' } },
  { type: 'response.reasoning_summary_text.delta', item_id: 'rs_1', delta: 'Rayleigh' },
  { type: 'response.output_item.done', output_index: 0, item: { id: 'rs_1', type: 'reasoning' } },
  { type: 'response.output_item.added', output_index: 1, item: { id: 'ws_1', type: 'web_search_call', status: 'in_progress' } },
  { type: 'response.output_item.done', output_index: 1, item: { id: 'ws_1', type: 'web_search_call', status: 'completed' } },
  { type: 'response.output_item.added', output_index: 2, item: { id: 'fc_1', type: 'function_call', name: 'weather', call_id: 'call_1', arguments: '' } },
  { type: 'response.output_item.done', output_index: 2, item: { id: 'fc_1', type: 'function_call', name: 'weather', call_id: 'call_1', arguments: '{}' } },
  { type: 'response.output_item.added', output_index: 3, item: { id: 'msg_1', type: 'message', role: 'assistant' } },
  { type: 'response.output_text.delta', item_id: 'msg_1', delta: 'Light sca' },
  { type: 'response.output_text.delta', item_id: 'msg_1', delta: 'tters: λ⁻⁴ 🌈.' },
  '|',
  { type: 'response.output_text.done', item_id: 'msg_1', text: 'Light scatters: λ⁻⁴ 🌈.' },
  { type: 'response.completed', response: { id: 'resp_1', status: 'completed' } },
];
const ANTHROPIC: Transcript = [
  { type: 'message_start', message: { id: 'msg_1', type: 'message', role: 'assistant', model: 'claude-sonnet-4-5', content: [] } },
  { type: 'content_block_start', index: 0, content_block: { type: 'thinking', thinking: '' } },
  { type: 'content_block_delta', index: 0, delta: { type: 'thinking_delta', thinking: 'Rayleigh' } },
  { type: 'content_block_stop', index: 0 },
  { type: 'ping' },
  { type: 'content_block_start', index: 1, content_block: { type: 'text', text: '' } },
  { type: 'content_block_delta', index: 1, delta: { type: 'text_delta', text: 'Light sca' } },
  { type: 'content_block_delta', index: 1, delta: { type: 'text_delta', text: 'tters: λ⁻⁴ 🌈.' } },
  { type: 'content_block_stop', index: 1 },
  { type: 'content_block_start', index: 2, content_block: { type: 'tool_use', id: 'toolu_1', name: 'weather', input: {} } },
  { type: 'content_block_delta', index: 2, delta: { type: 'input_json_delta', partial_json: '{}' } },
  { type: 'content_block_stop', index: 2 },
  { type: 'message_delta', delta: { stop_reason: 'tool_use' }, usage: { output_tokens: 15 } },
  '|',
  { type: 'message_stop' },
];
const AG_UI: Transcript = [
  { type: 'RUN_STARTED', threadId: 't1', runId: 'r1' },
  { type: 'REASONING_MESSAGE_START', messageId: 'm0', role: 'reasoning' },
  { type: 'REASONING_MESSAGE_CONTENT', messageId: 'm0', delta: 'Rayleigh' },
  { type: 'STATE_SNAPSHOT', snapshot: {} },
  { type: 'TOOL_CALL_START', toolCallId: 'c1', toolCallName: 'weather' },
  { type: 'TOOL_CALL_ARGS', toolCallId: 'c1', delta: '{}' },
  { type: 'TOOL_CALL_END', toolCallId: 'c1' },
  { type: 'TOOL_CALL_RESULT', messageId: 'm1', toolCallId: 'c1', content: 'clear' },
  { type: 'TEXT_MESSAGE_START', messageId: 'm2', role: 'assistant' },
  { type: 'TEXT_MESSAGE_CONTENT', messageId: 'm2', delta: 'Light sca' },
  { type: 'TEXT_MESSAGE_CONTENT', messageId: 'm2', delta: 'tters: λ⁻⁴ 🌈.' },
  '|',
  { type: 'TEXT_MESSAGE_END', messageId: 'm2' },
  { type: 'RUN_FINISHED', threadId: 't1', runId: 'r1' },
];
const AI_SDK: Transcript = [
  { type: 'start', messageId: 'm1' },
  { type: 'start-step' },
  { type: 'reasoning-start', id: 'r1' },
  { type: 'reasoning-delta', id: 'r1', delta: 'Rayleigh' },
  { type: 'reasoning-end', id: 'r1' },
  { type: 'tool-input-start', toolCallId: 'c1', toolName: 'weather' },
  { type: 'tool-input-delta', toolCallId: 'c1', inputTextDelta: '{}' },
  { type: 'tool-input-available', toolCallId: 'c1', toolName: 'weather', input: {} },
  { type: 'tool-output-available', toolCallId: 'c1', output: { sky: 'clear' } },
  { type: 'text-start', id: 't1' },
  { type: 'text-delta', id: 't1', delta: 'Light sca' },
  { type: 'text-delta', id: 't1', delta: 'tters: λ⁻⁴ 🌈.' },
  '|',
  { type: 'text-end', id: 't1' },
  { type: 'finish-step' },
  { type: 'finish' },
];
const TEXT = 'Light scatters: λ⁻⁴ 🌈.';

const sse = (events: Transcript) => events.map((event) => `event: ${(event as { type?: string }).type}\ndata: ${JSON.stringify(event)}\n\n`).join('');
const before = (all: Transcript) => sse(all.slice(0, all.indexOf('|')));
const rest = (all: Transcript) => `${sse(all.slice(all.indexOf('|') + 1))}data: [DONE]\n\n`;

async function start(t: TestContext) {
  const gateway = new Gateway();
  await gateway.start();
  t.after(() => gateway.stop());
  const reader = connect(gateway.url, { WebSocket });
  t.after(() => reader.close());
  const open = streams(reader.channel('lobby', { last: 50 }));
  const seen: Stream[] = [];
  open.subscribe((all) => { for (const one of all) if (!seen.includes(one)) seen.push(one); });
  await until('online', () => reader.state.value.phase === 'online');
  return { gateway, reader, seen };
}

/** Starts an example whose provider is its input. */
function python(t: TestContext, name: string, url: string, run: string) {
  const path = fileURLToPath(new URL(`../../../../examples/${name}`, import.meta.url));
  const child = spawn('python3', [path, url, 'lobby', run], { env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' }, stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  child.stdin.on('error', () => {});
  const it = { child: child as ChildProcess, out: '', write: (text: string) => child.stdin.write(text) };
  child.stdout.on('data', (text) => { it.out += text; });
  return it;
}

const types = (stream: Stream) => stream.events.value.map(({ type, data }) => [type, (data as { tool_name?: string } | null)?.tool_name ?? '']).join(' ').replaceAll(',', ':');

test('OpenAI and Anthropic: the text and what happens in between are shown, and a gateway that is killed costs nothing', { skip: missing }, async (t) => {
  const { gateway, seen } = await start(t);
  const [openai, anthropic] = [python(t, 'openai_events.py', gateway.url, 'r1'), python(t, 'anthropic_events.py', gateway.url, 'r2')];
  await until('both have begun', () => seen.length === 2);
  openai.write(before(OPENAI));
  anthropic.write(before(ANTHROPIC));
  const of = (what: string) => seen.find((one) => types(one).includes(what));
  await until('OpenAI', () => of('web_search_call')?.text.value === TEXT);
  await until('Anthropic', () => of('usage')?.text.value === TEXT);
  const [one, other] = [of('web_search_call')!, of('usage')!];
  assert.equal(types(one), 'started: thinking: tool_executing:web_search_call tool_completed:web_search_call tool_executing:weather');
  assert.equal(types(other), 'started: thinking: tool_executing:weather usage:');
  await gateway.end('SIGKILL');
  const more = { type: 'response.output_text.delta', delta: ' More, while the gateway is away.' };
  openai.write(sse([more]) + rest(OPENAI));
  await gateway.start();
  anthropic.write(rest(ANTHROPIC));
  await until('both have ended', () => one.state.value === 'completed' && other.state.value === 'completed');
  assert.deepEqual([one.text.value, other.text.value], [TEXT + more.delta, TEXT]);
  await until('both say so', () => openai.out === 'completed\n' && anthropic.out === 'completed\n');
});

test('a stream of a program that is stopped, started again, or whose model breaks off', { skip: missing }, async (t) => {
  const { gateway, seen } = await start(t);
  const stopped = python(t, 'anthropic_events.py', gateway.url, 'stopped');
  stopped.write(before(ANTHROPIC));
  await until('the text', () => seen[0]?.text.value === TEXT);
  await seen[0]!.cancel();
  await until('it is stopped', () => seen[0]!.state.value === 'cancelled' && stopped.out === 'cancelled\n');
  const killed = python(t, 'openai_events.py', gateway.url, 'again');
  killed.write(before(OPENAI));
  await until('the text', () => seen[1]?.text.value === TEXT);
  killed.child.kill('SIGKILL');
  const again = python(t, 'openai_events.py', gateway.url, 'again');
  again.write(sse([{ type: 'response.output_text.delta', delta: 'Another answer.' }]));
  await until('only the new text', () => seen[1]!.text.value === 'Another answer.');
  again.child.stdin!.end();
  await until('it has failed', () => seen[1]!.state.value === 'failed' && again.out === 'failed\n');
  assert.equal(seen.length, 2);
});

test('AG-UI and AI SDK: the text and what happens in between are shown, and Stop ends the request', { skip: missing }, async (t) => {
  const { gateway, seen } = await start(t);
  const requests: { path: string; body: string; response: ServerResponse; isClosed: boolean }[] = [];
  const server = createServer((request, response) => {
    const one = { path: request.url!, body: '', response, isClosed: false };
    request.on('data', (chunk) => { one.body += chunk; }).on('end', () => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' }).write(before(one.path === '/agent' ? AG_UI : AI_SDK));
      requests.push(one);
    });
    response.on('close', () => { one.isClosed = true; });
  });
  await new Promise<void>((done) => { server.listen(0, '127.0.0.1', done); });
  t.after(() => { server.closeAllConnections(); server.close(); });
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const backend = connect(gateway.url, { WebSocket });
  t.after(() => backend.close());
  const agent = agUi.answer(backend, 'lobby', `${base}/agent`, { runId: 'r1', messages: [] }, 'anonymous');
  await until('AG-UI', () => seen[0]?.text.value === TEXT);
  assert.equal(types(seen[0]!), 'started: thinking: tool_executing:weather tool_completed:weather');
  requests[0]!.response.end(rest(AG_UI));
  assert.equal((await agent).state, 'completed');
  const model = aiSdk.answer(backend, 'lobby', `${base}/chat`, { id: 'r2', messages: [] }, 'anonymous');
  await until('AI SDK', () => seen[1]?.text.value === TEXT);
  assert.equal(types(seen[1]!), 'started: thinking: tool_executing:weather tool_completed:weather');
  requests[1]!.response.end(rest(AI_SDK));
  assert.equal((await model).state, 'completed');
  for (const [answer, path] of [[agUi.answer, '/agent'], [aiSdk.answer, '/chat']] as const) {
    const run = answer(backend, 'lobby', base + path, { id: `stop${path}`, runId: `stop${path}`, messages: [] }, 'anonymous');
    const index = requests.length;
    await until('the text', () => seen[index]?.text.value === TEXT);
    await seen[index]!.cancel();
    assert.equal((await run).state, 'cancelled');
    await until('the request has ended', () => requests[index]!.isClosed);
  }
});
