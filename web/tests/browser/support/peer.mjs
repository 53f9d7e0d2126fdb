// Another client of the same gateway, without a browser: publishes and reads stored publications on a plain WebSocket.

import { randomBytes } from 'node:crypto';
import http from 'node:http';
import { until } from './until.mjs';

const ANSWERED_MS = 10_000;

/** Builds a masked text frame of up to 65535 bytes (RFC 6455). Received frames are expected to be unfragmented. */
function frame(text) {
  const payload = Buffer.from(text);
  const mask = randomBytes(4);
  const head = payload.length < 126
    ? Buffer.from([0x81, 0x80 | payload.length])
    : Buffer.from([0x81, 0x80 | 126, payload.length >> 8, payload.length & 0xff]);
  return Buffer.concat([head, mask, payload.map((byte, index) => byte ^ mask[index % 4])]);
}

export class Peer {
  #socket;
  #rest = Buffer.alloc(0);
  #answers = new Map();
  #id = 0;

  static async connect(t, gateway, token) {
    const peer = new Peer();
    peer.#socket = await new Promise((opened, failed) => {
      const request = http.get(`${gateway.url}/ws`, {
        headers: {
          Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13',
          'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
        },
      });
      request.on('upgrade', (_, socket) => opened(socket)).on('error', failed);
    });
    peer.#socket.on('data', (bytes) => peer.#read(bytes)).on('error', () => {});
    t.after(() => peer.#socket.destroy());
    await peer.ask('connect', token === undefined ? {} : { token });
    return peer;
  }

  #read(bytes) {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    for (;;) {
      const [, short] = this.#rest;
      const head = short === 126 ? 4 : short === 127 ? 10 : 2;
      if (this.#rest.length < head) return;
      const length = short === 126 ? this.#rest.readUInt16BE(2)
        : short === 127 ? Number(this.#rest.readBigUInt64BE(2)) : short;
      if (this.#rest.length < head + length) return;
      const payload = this.#rest.subarray(head, head + length);
      if ((this.#rest[0] & 0x0f) === 1) this.#take(JSON.parse(payload.toString()));
      this.#rest = this.#rest.subarray(head + length);
    }
  }

  #take(message) {
    if (message.id !== undefined) this.#answers.set(message.id, message);
  }

  /** Sends one command and returns the reply's value. Throws on an error reply. */
  async ask(command, value) {
    const id = (this.#id += 1);
    this.#socket.write(frame(JSON.stringify({ id, [command]: value })));
    const answer = await until(`an answer to ${command}`, ANSWERED_MS, () => this.#answers.get(id));
    if (answer.error !== undefined) throw new Error(`${command}: ${JSON.stringify(answer.error)}`);
    return Object.values(answer).find((part) => typeof part === 'object');
  }

  lose() {
    this.#socket.destroy();
  }

  say(channel, text, name = 'peer') {
    return this.ask('publish', { channel, key: randomBytes(12).toString('hex'), data: { name, text } });
  }

  /** Returns all stored publications of a channel, oldest first. */
  async stored(channel) {
    const all = [];
    for (;;) {
      const page = await this.ask('history', { channel, after: all.at(-1)?.offset ?? 0, limit: 300 });
      all.push(...page.publications);
      if (page.publications.length === 0 || all.at(-1).offset >= page.head) return all;
    }
  }
}
