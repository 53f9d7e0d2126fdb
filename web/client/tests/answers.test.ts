/** Answers that are stored together with their questions: found from the question, before and after a reload. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { durable } from '../src/durable.js';
import { questionOf, streams } from '../src/streams.js';
import { client, quick, Server, Shelf, type FakeSocket } from './fakes.js';
import { until } from './gateway.js';

/** A gateway with a backend that answers: each question is stored with the begin of its answer, which is at the next offset. */
class Answering extends Server {
  readonly cancels: number[] = [];
  readonly #log: Record<string, any>[] = [];

  override handle(socket: FakeSocket, frame: Record<string, any>): void {
    const { id, publish, cancel, stream, history } = frame;
    if (publish) this.#ask(socket, id, publish);
    else if (cancel) {
      this.cancels.push(cancel.offset);
      socket.deliver({ id, cancelling: cancel });
      this.end(cancel.offset, 'cancelled', '');
    } else if (stream) {
      const place = { channel: 'c', offset: stream.offset };
      const edit = this.#log.find(({ edits }) => edits === stream.offset);
      if (edit) socket.deliver({ id, error: { code: 'ended', message: 'It has ended.', ...place, state: edit['stream'], edit: edit['offset'] } });
      else socket.deliver({ id, stream: { ...place, gen: 1, at: 0, text: '', events: [], next: 0, state: 'accepted' } });
    } else if (history) {
      const publications = this.#log.slice(history.after, history.after + history.limit);
      socket.deliver({ id, history: { channel: 'c', epoch: 'e', head: this.#log.length, floor: 1, publications } });
    } else super.handle(socket, frame);
  }

  #ask(socket: FakeSocket, id: number, { channel, key, data }: Record<string, any>): void {
    const known = this.#log.find((one) => one['key'] === key)?.['offset'];
    const offset = known ?? this.#store({ key, user: this.user, data });
    if (!known) this.push(this.#store({ user: 'assistant', data: { answers: offset }, stream: 'begun' }), { state: 'accepted' });
    socket.deliver({ id, published: { channel, key, epoch: 'e', offset, time: 1, duplicate: known !== undefined, answer: offset + 1 } });
  }

  /** Stores a publication, and sends it to all. Returns its offset. */
  #store(more: object): number {
    const publication = { channel: 'c', offset: this.#log.length + 1, time: 1, ...more };
    this.#log.push(publication);
    this.#say({ publication });
    return publication.offset;
  }

  #say(frame: object): void {
    for (const socket of this.sockets) socket.deliver(frame);
  }

  push(offset: number, more: object): void {
    this.#say({ stream: { channel: 'c', offset, gen: 1, ...more } });
  }

  end(edits: number, stream: string, text: string): void {
    this.#store({ edits, user: 'assistant', stream, data: { text, begun: { answers: edits - 1 } } });
  }
}

test('a question leads to its answer, which waits, is processed, is written and ends', async (t) => {
  const server = new Answering();
  const room = client(t, server).channel('c');
  const open = streams(room);
  await until('live', () => room.state.value.phase === 'live');
  const sent = await room.publish({ text: 'Why?' });
  const answer = open.of(sent)!;
  assert.deepEqual([sent.answer, answer.offset, questionOf(answer.begun!.data)], [2, 2, sent.offset]);
  await until('it waits', () => answer.state.value === 'accepted');
  const states: string[] = [];
  answer.state.subscribe((state) => states.push(state));
  server.push(2, { state: 'processing' });
  await until('it is processed', () => answer.state.value === 'processing');
  server.push(2, { at: 0, text: 'Because', next: 7 });
  await until('it is written', () => answer.text.value === 'Because');
  server.end(2, 'completed', 'Because.');
  await until('it has ended', () => answer.text.value === 'Because.');
  assert.deepEqual([states, open.value], [['processing', 'streaming', 'completed'], []]);
  assert.equal(open.of({ ...sent, answer: undefined as never }), undefined, 'a channel without a backend');
  assert.ok(server.sockets[0]!.sent.every((frame) => !frame['stream']), 'nothing was missed');
});

test('an answer is stopped before its backend has the question', async (t) => {
  const server = new Answering();
  const room = client(t, server).channel('c');
  const open = streams(room);
  await until('live', () => room.state.value.phase === 'live');
  const answer = open.of(await room.publish({ text: 'Why?' }))!;
  await until('it waits', () => answer.state.value === 'accepted');
  await answer.cancel();
  await until('it has ended', () => answer.state.value === 'cancelled');
  assert.deepEqual(server.cancels, [2]);
});

test('a question that is sent twice leads to the answer that it has, also when that has ended', async (t) => {
  const server = new Answering();
  const room = client(t, server).channel('c');
  const open = streams(room);
  await until('live', () => room.state.value.phase === 'live');
  const first = open.of(await room.publish({ text: 'Why?' }, { key: 'q' }));
  await until('sent', () => open.value.length === 1);
  assert.equal(open.of(await room.publish({ text: 'Why?' }, { key: 'q' })), first);
  server.end(2, 'completed', 'Because.');
  await until('it has ended', () => open.value.length === 0);
  const again = open.of(await room.publish({ text: 'Why?' }, { key: 'q' }))!;
  const pieces: (string | undefined)[] = [];
  for await (const { text } of again) pieces.push(text);
  assert.deepEqual([pieces, again.state.value, open.value], [['Because.'], 'completed', []]);
  room.leave();
  assert.equal(open.of({ channel: 'c', key: 'q', epoch: 'e', offset: 1, time: 1, duplicate: true, answer: 2 }), undefined);
});

test('a question that was written offline, and sent by the next page, finds its answer', async (t) => {
  const server = new Answering();
  const shelf = new Shelf();
  const page = () => client(t, server, { outbox: durable({ storage: shelf, locks: null }), clock: quick });
  server.accepts = false;
  const before = page();
  before.channel('c').publish({ text: 'Why?' }).catch(() => {});
  await until('kept', () => shelf.entries.length === 1);
  before.close();
  server.accepts = true;
  const room = page().channel('c');
  const open = streams(room);
  let asked: number | undefined;
  room.on('publication', ({ offset, data }) => { if ((data as { text?: string }).text === 'Why?') asked = offset; });
  await until('asked', () => open.value.length === 1);
  const [answer] = open.value;
  assert.deepEqual([asked, questionOf(answer!.begun!.data)], [1, 1]);
  server.push(2, { at: 0, text: 'Because', next: 7 });
  server.end(2, 'completed', 'Because.');
  await until('it has ended', () => answer!.text.value === 'Because.');
});

test('the question of an answer is in the data of its begin and of its end', () => {
  for (const [data, question] of [[{ answers: 5 }, 5], [{ text: '', begun: { answers: 5 } }, 5], [{ begun: null }, undefined], ['text', undefined], [null, undefined]] as const) {
    assert.equal(questionOf(data), question);
  }
});
