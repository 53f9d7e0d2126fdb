// A temporary Redis on a free port, stopped when the test ends.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { freePort } from './port.mjs';
import { until } from './until.mjs';

const STARTED_MS = 30_000;

/** True if the server answers a PING. */
async function answers(port) {
  const socket = net.connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
  const [bytes] = await Promise.race(['data', 'close'].map((event) => once(socket, event))).catch(() => []);
  socket.destroy();
  return bytes?.toString?.().startsWith('+PONG') ?? false;
}

/** Starts a server and returns the URL for `bus.url`. */
export async function redis(t) {
  const port = await freePort();
  const server = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'], { stdio: 'ignore' });
  const ended = new Promise((done) => server.once('exit', done).once('error', done));
  t.after(async () => {
    server.kill('SIGKILL');
    await ended;
  });
  await until('Redis answers', STARTED_MS, () => answers(port));
  return `redis://127.0.0.1:${port}`;
}
