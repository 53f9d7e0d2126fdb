/** A gateway in the same process that stores streams. */

import assert from 'node:assert/strict';
import { Server, type FakeSocket } from './fakes.js';

export interface Stream { key: string; text: Buffer; events: object[]; gen: number; positions: Buffer; state?: string; data?: unknown; options: object }

/** A gateway that stores streams, and loses connections as a test wants. */
export class Streams extends Server {
  readonly streams: Stream[] = [];
  /** False: appends are taken, and not acknowledged. */
  acknowledges = true;
  /** The appends after which the connection is lost: before they are stored, or before that is acknowledged. */
  losses: ('before' | 'after')[] = [];
  refuses: object | undefined;
  appends = 0;

  override handle(socket: FakeSocket, frame: Record<string, any>): void {
    const { id } = frame;
    const body = frame['append'] ?? frame['end'] ?? frame['restart'];
    const stream = this.streams[body?.offset - 1];
    const place = { channel: 'c', offset: body?.offset };
    const fail = (code: string, more: object = {}) => socket.deliver({ id, error: { code, message: code, ...place, ...more } });
    if (frame['publish']?.stream) this.#begin(socket, id, frame['publish']);
    else if (!body) super.handle(socket, frame);
    else if (this.refuses && frame['append']) fail('', this.refuses);
    else if (!stream) fail('not_found');
    else if (stream.state) fail('ended', { state: stream.state, edit: 99 });
    else if (frame['restart']) {
      Object.assign(stream, { gen: stream.gen + 1, text: Buffer.alloc(0), positions: Buffer.alloc(0) });
      socket.deliver({ id, restarted: { ...place, gen: stream.gen, next: 0 } });
    } else if (body.gen < stream.gen) fail('stale', { gen: stream.gen });
    else if (body.at > stream.positions.length) fail('gap', { next: stream.positions.length });
    else if (frame['end']) {
      assert.equal(body.at, stream.positions.length);
      Object.assign(stream, { state: body.state, data: body.data });
      socket.deliver({ id, ended: { ...place, edit: 99, state: body.state, duplicate: false } });
    } else this.#append(socket, stream, body);
  }

  #begin(socket: FakeSocket, id: number, { key, stream: options }: Record<string, any>): void {
    const known = this.streams.findIndex((one) => one.key === key);
    const offset = known < 0 ? this.streams.push({ key, text: Buffer.alloc(0), positions: Buffer.alloc(0), events: [], gen: 1, options }) : known + 1;
    const { gen, positions, state } = this.streams[offset - 1]!;
    const stream = state ? { gen, next: positions.length, state, edit: 99 } : { gen, next: positions.length };
    socket.deliver({ id, published: { channel: 'c', key, epoch: 'e', offset, time: 1, duplicate: known >= 0, stream } });
  }

  #append(socket: FakeSocket, stream: Stream, { at, text, event, offset }: Record<string, any>): void {
    this.appends += 1;
    const loss = this.appends % 5 === 0 ? this.losses.shift() : undefined;
    const lose = () => {
      socket.lost();
      socket.server.sockets.splice(socket.server.sockets.indexOf(socket), 1);
    };
    if (loss === 'before') return lose();
    const added = event ? Buffer.from([0xff]) : Buffer.from(text ?? '');
    const known = stream.positions.subarray(at, at + added.length);
    assert.deepEqual(known, added.subarray(0, known.length), 'a repeat is the same');
    const fresh = added.subarray(known.length);
    stream.positions = Buffer.concat([stream.positions, fresh]);
    if (!event) stream.text = Buffer.concat([stream.text, fresh]);
    else if (fresh.length) stream.events.push(event);
    if (loss === 'after') return lose();
    if (this.acknowledges) socket.deliver({ appended: { channel: 'c', offset, gen: stream.gen, next: stream.positions.length } });
  }
}
