/** Answers on each runtime: a stream from its begin to its end, in a list of messages. */

import { runtime, show } from './dom.js';
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { StrictMode, type ReactNode } from 'react';
import { MessageList, useChannel } from '../src/chat.js';
import { createKit, SeawallProvider } from '../src/index.js';
import { Answer, useStreams } from '../src/streams.js';
import { Echo } from './gateway.js';

const on = (name: string, run: (t: TestContext) => Promise<void>) => test(`${runtime}: ${name}`, run);

/** A gateway with one stream at offset 1. */
class Writer extends Echo {
  readonly cancels: number[] = [];
  refuses = false;

  override handle(socket: Parameters<Echo['handle']>[0], frame: Record<string, any>): void {
    const { id, cancel } = frame;
    if (!cancel) return super.handle(socket, frame);
    this.cancels.push(cancel.offset);
    if (this.refuses) socket.deliver({ id, error: { code: 'forbidden', message: 'Only the asker may stop this answer.' } });
    else socket.deliver({ id, cancelling: { channel: 'lobby', offset: cancel.offset } });
  }

  say(frame: object): void {
    for (const socket of this.sockets) socket.deliver(frame);
  }

  begin(offset = 1): void {
    this.say({ publication: { channel: 'lobby', offset, time: Date.now(), user: 'bot', key: `b${offset}`, data: { answers: 7 }, stream: 'begun' } });
  }

  piece(more: object, offset = 1): void {
    this.say({ stream: { channel: 'lobby', offset, gen: 1, ...more } });
  }

  end(stream: string, text: string, offset = 2, cause?: string): void {
    this.say({ publication: { channel: 'lobby', offset, edits: 1, time: Date.now(), user: 'bot', key: `e${offset}`, data: { text, begun: {}, cause }, stream } });
  }
}

function Log({ onRetry }: { readonly onRetry?: () => void }): ReactNode {
  const { messages, state } = useChannel('lobby');
  const streams = useStreams('lobby');
  return (
    <>
      <i>{state.phase}</i>
      <MessageList items={messages} version={streams}>
        {(item, { active }) => (item.kind === 'message'
          ? <Answer item={item} stream={streams.find(({ offset }) => offset === item.offset)} onRetry={onRetry} tabIndex={active ? 0 : -1} /> : null)}
      </MessageList>
    </>
  );
}

async function open(t: TestContext, server: Writer, more: { onRetry?: () => void } = {}) {
  const kit = createKit({ words: { answers: { streaming: 'schreibt' } } });
  const it = show(t, <StrictMode><SeawallProvider kit={kit} url="ws://gateway.example/ws" WebSocket={server.Socket}><Log {...more} /></SeawallProvider></StrictMode>);
  await it.sees('live', () => it.text().startsWith('live'));
  const find = (selector: string) => it.all(selector)[0];
  const press = (prevented = false) => {
    const event = new (globalThis.window as never as { KeyboardEvent: typeof KeyboardEvent }).KeyboardEvent('keydown', { key: 'Escape', cancelable: true, bubbles: true });
    if (prevented) event.preventDefault();
    document.dispatchEvent(event);
  };
  return { ...it, kit, press, answer: () => find('.sw-answer')?.dataset['state'], shown: () => find('.sw-answer-text')?.textContent ?? '', note: () => find('.sw-answer .sw-note')?.textContent ?? '', said: () => find('.sw-answer [role=status]')?.textContent ?? '' };
}

on('an answer shows its text as it grows, what happens in between, and its state in words', async (t) => {
  const server = new Writer();
  const it = await open(t, server);
  server.begin();
  await it.sees('the begin', () => it.note() === 'schreibtStop');
  server.piece({ at: 0, event: { type: 'tool_executing', data: {} }, next: 1 });
  await it.sees('the event', () => it.note().startsWith('Tool executing…'));
  server.piece({ at: 1, text: 'Hello', next: 6 });
  await it.sees('the text', () => it.shown() === 'Hello');
  server.piece({ state: 'paused' });
  await it.sees('paused', () => it.answer() === 'paused' && it.note().startsWith('The connection to the author is lost.'));
  server.end('completed', 'Hello!');
  await it.sees('the end', () => it.answer() === 'completed' && it.shown() === 'Hello!');
  assert.equal(it.all('.sw-answer button, .sw-answer [data-open]').length, 0);
  assert.deepEqual(it.kit.errors.value.groups, []);
});

on('an answer that waits for its backend says so, and that replies are late while the gateway says that', async (t) => {
  const server = new Writer();
  const it = await open(t, server);
  server.begin();
  server.piece({ state: 'accepted' });
  await it.sees('accepted', () => it.answer() === 'accepted' && it.note() === 'Sent. Waiting…Stop');
  const status = (lost: string[]) => server.say({ status: { level: lost.length ? 'degraded' : 'ok', revision: 2, dependencies: [], lost } });
  status(['replies']);
  await it.sees('late', () => it.note() === 'Sent. Waiting: answers are late…Stop');
  status([]);
  await it.sees('well', () => it.note() === 'Sent. Waiting…Stop');
  server.piece({ state: 'processing' });
  await it.sees('processing', () => it.answer() === 'processing' && it.note() === 'Received. Waiting…Stop');
  server.piece({ at: 0, text: 'Hello', next: 5 });
  await it.sees('streaming', () => it.answer() === 'streaming' && it.shown() === 'Hello');
});

on('a question that no backend takes says so, with a button to ask again', async (t) => {
  const server = new Writer();
  const it = await open(t, server, { onRetry: () => {} });
  server.begin();
  server.piece({ state: 'accepted' });
  await it.sees('accepted', () => it.answer() === 'accepted');
  server.end('failed', '', 2, 'not_delivered');
  await it.sees('the end', () => it.answer() === 'failed' && it.note() === 'This question was not answered.Try again');
});

on('Stop and Escape cancel, and an end by the gateway has a button to ask again', async (t) => {
  const server = new Writer();
  let again = 0;
  const it = await open(t, server, { onRetry: () => { again += 1; } });
  server.begin();
  server.piece({ at: 0, text: 'Hel', next: 3 });
  await it.sees('the text', () => it.shown() === 'Hel');
  await it.sees('the cancel', () => {
    it.press();
    return server.cancels.length > 0;
  });
  const before = server.cancels.length;
  it.press(true);
  server.piece({ state: 'cancelling' });
  await it.sees('the state', () => it.note() === 'Stopping…');
  it.press();
  server.end('interrupted', 'Hel');
  await it.sees('the end', () => it.note() === 'This answer was interrupted.Try again');
  it.click('Try again');
  assert.deepEqual([new Set(server.cancels), server.cancels.length, again], [new Set([1]), before, 1], 'no key counts that another part of the page took, or after the first');
});

on('a refused cancel is shown in place of the button', async (t) => {
  const server = new Writer();
  const it = await open(t, server);
  server.refuses = true;
  server.begin();
  await it.sees('the begin', () => it.note() !== '');
  it.click('Stop');
  await it.sees('the refusal', () => it.note() === 'Only the asker may stop this answer.');
});

on('a screen reader reads sentences, not pieces, and at the end the rest', async (t) => {
  const server = new Writer();
  const it = await open(t, server);
  server.begin();
  await it.sees('the begin', () => it.answer() === 'streaming');
  server.piece({ at: 0, text: 'One is 1.5 long. Two', next: 20 });
  await it.sees('a sentence', () => it.said() === 'One is 1.5 long.');
  server.end('cancelled', 'One is 1.5 long. Two and');
  await it.sees('the rest', () => it.said() === 'Two and Stopped.');
});

on('an answer waits while its reader has no connection', async (t) => {
  const server = new Writer();
  const it = await open(t, server);
  server.begin();
  server.piece({ at: 0, text: 'Hel', next: 3 });
  await it.sees('the text', () => it.shown() === 'Hel' && it.answer() === 'streaming');
  server.accepts = false;
  for (const socket of server.sockets) socket.lost();
  await it.sees('the wait', () => it.answer() === 'paused' && it.note() === 'Reconnecting…' && it.shown() === 'Hel');
});
