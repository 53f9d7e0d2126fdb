// A TCP proxy between the browser and a gateway, which a test can hold or cut.

import net from 'node:net';

export class Link {
  #pairs = new Set();
  #isCut = false;
  #port;

  static async open(t, gateway) {
    const link = new Link();
    link.leadTo(gateway);
    const server = net.createServer((near) => link.#join(near));
    await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
    link.port = server.address().port;
    link.url = `http://127.0.0.1:${link.port}`;
    t.after(() => {
      link.cut();
      return new Promise((closed) => server.close(closed));
    });
    return link;
  }

  /** Sends new connections to this gateway. Open ones stay where they are. */
  leadTo(gateway) {
    this.#port = gateway.port;
  }

  #join(near) {
    if (this.#isCut) return near.destroy();
    const far = net.connect(this.#port, '127.0.0.1');
    const pair = { near, far, isWebSocket: false };
    this.#pairs.add(pair);
    near.once('data', (bytes) => { pair.isWebSocket = bytes.toString('latin1').startsWith('GET /ws'); });
    for (const [from, to] of [[near, far], [far, near]]) {
      from.on('data', (bytes) => to.write(bytes)).on('end', () => to.end()).on('error', () => to.destroy());
      from.on('close', () => {
        to.destroy();
        this.#pairs.delete(pair);
      });
    }
  }

  /** Stops traffic on the open WebSockets in one direction: `up` to the gateway, or `down` from it. */
  hold(way) {
    for (const { near, far, isWebSocket } of this.#pairs) if (isWebSocket) (way === 'up' ? near : far).pause();
  }

  /** Resumes all traffic and accepts new connections. */
  release() {
    this.#isCut = false;
    for (const { near, far } of this.#pairs) {
      near.resume();
      far.resume();
    }
  }

  /** Resets every connection, and refuses new ones until `release`. */
  cut() {
    this.#isCut = true;
    for (const { near, far } of this.#pairs) {
      near.destroy();
      far.destroy();
    }
  }
}
