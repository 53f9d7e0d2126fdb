// Ports for servers of tests.

import net from 'node:net';

/**
 * Returns a port that nothing used a moment ago. It is below the range for connections and for servers with port 0: neither can get it
 * before a server listens there, or while that is down.
 */
export async function freePort() {
  for (;;) {
    const port = 15_000 + Math.floor(Math.random() * 17_000);
    const server = net.createServer();
    const isFree = await new Promise((done) => {
      server.once('error', () => done(false));
      server.listen(port, '127.0.0.1', () => server.close(() => done(true)));
    });
    if (isFree) return port;
  }
}
