/** A gateway in the same process that also sends back what was published. */

import { Server, type FakeSocket } from '../../client/tests/fakes.js';

export class Echo extends Server {
  /** Publications that were sent to clients. */
  #offset = 0;

  override handle(socket: FakeSocket, frame: Record<string, any>): void {
    super.handle(socket, frame);
    const { channel, key, data } = frame['publish'] ?? {};
    if (channel && this.answers) this.push(channel, data, this.user, key);
  }

  /** Sends a publication to all clients. */
  push(channel: string, data: unknown, user = 'grace', key = `k${this.#offset}`): void {
    const publication = { channel, offset: ++this.#offset, time: Date.now() + 1_000, user, key, data };
    for (const socket of this.sockets) socket.deliver({ publication });
  }
}
