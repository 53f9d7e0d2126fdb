/** Starts a real gateway with a temporary data folder, on a port that it has again after a restart. */

import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../../', import.meta.url));
export const binary = process.env['SEAWALL_BINARY'] ?? join(root, 'target/debug/seawall');
/** The reason for skipping tests that need a gateway, or `false`. */
export const missing = existsSync(binary) ? false : `no gateway at ${binary}: build it, or set SEAWALL_BINARY`;

/**
 * Returns a port that nothing used a moment ago. It is below the range for connections and for servers with port 0: another test
 * cannot get it before the gateway listens, or while it is down.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 15_000 + Math.floor(Math.random() * 17_000);
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (free) return port;
  }
}

export class Gateway {
  #child: ChildProcess | undefined;
  #port = 0;
  #config: string[] = [];
  readonly #folder = mkdtempSync(join(tmpdir(), 'seawall-client-'));

  /** `toml`: a configuration file. */
  constructor(readonly env: Record<string, string> = {}, toml?: string) {
    if (toml === undefined) return;
    this.#config = ['--config', join(this.#folder, 'seawall.toml')];
    writeFileSync(this.#config[1]!, toml);
  }

  get url(): string {
    return `ws://127.0.0.1:${this.#port}/ws`;
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  /** Starts the gateway, on its earlier port if it had one. Resolves once it listens. */
  async start(): Promise<void> {
    this.#port ||= await freePort();
    // The gateway rejects unknown variables with its prefix, such as SEAWALL_BINARY, so the environment is not inherited.
    const env = { PATH: process.env['PATH'], SEAWALL_ADMIN_LISTEN: 'off', ...this.env };
    const child = spawn(binary, [...this.#config, '--listen', `127.0.0.1:${this.#port}`, '--data', this.#folder], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    let log = '';
    child.stderr!.on('data', (text) => { log = (log + text).slice(-4000); });
    const lines = createInterface({ input: child.stdout! });
    await new Promise<string>((resolve, reject) => {
      lines.once('line', resolve);
      child.once('exit', (code) => reject(new Error(`the gateway ended with ${code}: ${log}`)));
    });
  }

  /** Sends the signal and waits until the gateway has exited. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child!;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    child.kill(signal);
    return ended;
  }

  async stop(): Promise<void> {
    if (this.#child) await this.end('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Resolves once `done()` is true. Fails after `ms` with the name of the condition. */
export async function until(what: string, done: () => boolean, ms = 60_000): Promise<void> {
  const end = Date.now() + ms;
  while (!done()) {
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
