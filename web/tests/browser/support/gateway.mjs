// A real gateway as a child process: on a free port, with its own data folder, stopped when the test ends.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from './port.mjs';
import { until } from './until.mjs';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../../../..');
const BINARY = resolve(root, process.env.SEAWALL_BINARY ?? 'target/debug/seawall');
const STARTED_MS = 20_000;
const ENDED_MS = 40_000;
const TAIL = 40;

/** Removes the gateway's settings from the inherited environment, so that tests do not depend on them. */
function environment(own) {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('SEAWALL_'));
  return { ...Object.fromEntries(kept), SEAWALL_ADMIN_LISTEN: 'off', ...own };
}

export class Gateway {
  #child;
  #lines = [];
  #setup;

  /** `setup`: `toml` (configuration lines), `env`, `data` (the data folder of an earlier gateway), `port`. */
  static async start(t, setup = {}) {
    const gateway = new Gateway();
    gateway.#setup = { toml: '', env: {}, ...setup };
    gateway.folder = mkdtempSync(join(tmpdir(), 'seawall-browser-'));
    gateway.data = setup.data ?? join(gateway.folder, 'data');
    t.after(async () => {
      await gateway.kill();
      rmSync(gateway.folder, { recursive: true, force: true });
    });
    await gateway.restart();
    return gateway;
  }

  /** Starts the gateway, or starts it again on the same port. */
  async restart() {
    const config = join(this.folder, 'seawall.toml');
    writeFileSync(config, this.#setup.toml);
    this.port ??= this.#setup.port ?? await freePort();
    const listen = `127.0.0.1:${this.port}`;
    const log = (this.#lines = []);
    this.#child = spawn(BINARY, ['serve', '--config', config, '--listen', listen, '--data', this.data], {
      cwd: this.folder,
      env: environment(this.#setup.env),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const child = this.#child;
    child.ended = new Promise((done) => child.once('exit', (code, signal) => done({ code, signal })));
    child.once('error', (error) => log.push(String(error)));
    let listens = false;
    for (const stream of [child.stdout, child.stderr]) {
      let rest = '';
      stream.setEncoding('utf8').on('data', (text) => {
        const lines = (rest + text).split('\n');
        rest = lines.pop();
        for (const line of lines) {
          listens ||= line.includes(`listening on ws://${listen}/`);
          log.push(line);
        }
        log.splice(0, log.length - TAIL);
      });
    }
    await until('the gateway listens', STARTED_MS, () => {
      if (child.exitCode !== null) throw new Error(`the gateway ended:\n${this.log}`);
      return listens;
    });
    this.url = `http://127.0.0.1:${this.port}`;
  }

  get log() {
    return this.#lines.join('\n');
  }

  get isRunning() {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Kills the gateway with SIGKILL, so that it cannot close its connections. */
  async kill() {
    if (!this.isRunning) return;
    this.#child.kill('SIGKILL');
    await this.#child.ended;
  }

  /** Starts a drain with SIGTERM, as a deploy does. */
  drain() {
    this.#child.kill('SIGTERM');
  }

  /** Waits until the gateway has exited by itself. Returns `{code, signal}`. */
  async left() {
    await until('the gateway has left', ENDED_MS, () => !this.isRunning, () => this.log);
    return this.#child.ended;
  }
}
