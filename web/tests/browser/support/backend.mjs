// A backend of the relay in the process of the test, which writes each response piece by piece.

import http from 'node:http';
import { until } from './until.mjs';

/** A claim of a gateway that was killed ends after thirty seconds. The rest is for a slow machine. */
const ASKED_MS = 120_000;

export class Backend {
  /** The questions that no test has taken yet. */
  #waiting = [];
  /** The offsets of the answers about whose cancel it was notified. */
  cancelled = [];

  static async open(t) {
    const backend = new Backend();
    const server = http.createServer((request, response) => backend.#take(request, response));
    await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
    backend.port = server.address().port;
    t.after(() => {
      server.closeAllConnections();
      return new Promise((closed) => server.close(closed));
    });
    return backend;
  }

  async #take(request, response) {
    let body = '';
    request.setEncoding('utf8').on('error', () => {});
    response.on('error', () => {});
    for await (const part of request) body += part;
    const { type, data } = JSON.parse(body);
    if (type === 'publication' && data.answer !== undefined) return this.#waiting.push(new Response(response, data));
    if (type === 'answer.cancelled') this.cancelled.push(data.answer.offset);
    response.writeHead(204).end();
  }

  /** Waits for the next question, and begins the response to it. */
  async question() {
    const response = await until('a question', ASKED_MS, () => this.#waiting.shift());
    response.begin();
    return response;
  }
}

/** The response to one question. */
class Response {
  #response;
  isClosed = false;

  constructor(response, { publication, answer }) {
    this.#response = response;
    this.text = publication.data.text;
    this.offset = answer.offset;
    response.on('close', () => { this.isClosed = true; });
  }

  begin() {
    this.#response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' });
    this.#response.flushHeaders();
  }

  write(text) {
    this.#response.write(text);
  }

  end() {
    this.#response.end();
  }
}
