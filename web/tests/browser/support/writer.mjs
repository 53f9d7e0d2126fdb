// A producer of one stream, whose pieces a test sends one by one: each is stored when its promise resolves.

import { Peer } from './peer.mjs';

export class Writer {
  #t;
  #gateway;
  #begin;
  #peer;
  #place;
  #next = 0;

  /** Begins the stream. `data`: that of its begin. */
  static async begin(t, gateway, key, data = {}) {
    const writer = new Writer();
    writer.#t = t;
    writer.#gateway = gateway;
    writer.#begin = { channel: 'lobby', key, data, stream: { for: 'anonymous' } };
    await writer.join();
    return writer;
  }

  /** Connects, and continues the stream where the store has it. */
  async join() {
    this.#peer = await Peer.connect(this.#t, this.#gateway);
    const { offset, stream } = await this.#peer.ask('publish', this.#begin);
    this.#place = { channel: 'lobby', offset, gen: stream.gen };
    this.#next = stream.next;
    return this.#next;
  }

  get offset() {
    return this.#place.offset;
  }

  async append(text) {
    ({ next: this.#next } = await this.#peer.ask('append', { ...this.#place, at: this.#next, text }));
  }

  async event(type, data = {}) {
    ({ next: this.#next } = await this.#peer.ask('append', { ...this.#place, at: this.#next, event: { type, data } }));
  }

  end = (state = 'completed') => this.#peer.ask('end', { ...this.#place, at: this.#next, state });

  /** Loses the connection. */
  lose = () => this.#peer.lose();
}
