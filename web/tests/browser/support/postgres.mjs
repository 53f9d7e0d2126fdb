// A temporary PostgreSQL server: in its own folder, on a free port, stopped when the test ends.

import { execFileSync, spawn } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './port.mjs';
import { until } from './until.mjs';

const HOME = '/usr/lib/postgresql';
const STARTED_MS = 30_000;
/** The unprivileged uid and gid to use if the tests run as root, because PostgreSQL refuses to run as root. */
const UNPRIVILEGED = 65534;

function programs() {
  const versions = existsSync(HOME) ? readdirSync(HOME).filter((name) => existsSync(join(HOME, name, 'bin/initdb'))) : [];
  const newest = versions.sort((a, b) => Number(b) - Number(a))[0];
  if (newest === undefined) throw new Error(`initdb not found under ${HOME}: run apt-get install postgresql`);
  return join(HOME, newest, 'bin');
}

/** Starts a server and returns the URL for `store.url`. */
export async function postgres(t) {
  const bin = programs();
  const folder = mkdtempSync(join(tmpdir(), 'seawall-postgres-'));
  const data = join(folder, 'data');
  mkdirSync(data, { mode: 0o700 });
  const as = process.getuid() === 0 ? { uid: UNPRIVILEGED, gid: UNPRIVILEGED } : {};
  if (process.getuid() === 0) for (const path of [folder, data]) chownSync(path, UNPRIVILEGED, UNPRIVILEGED);
  const options = { ...as, cwd: folder, env: { PATH: process.env.PATH, LC_ALL: 'C.UTF-8' } };
  execFileSync(join(bin, 'initdb'), ['-D', data, '-U', 'chat', '-A', 'trust', '--no-sync'], { ...options, stdio: 'pipe' });
  const port = await freePort();
  // No test depends on durability.
  const settings = ['listen_addresses=127.0.0.1', `port=${port}`, `unix_socket_directories=${folder}`, 'fsync=off'];
  const server = spawn(join(bin, 'postgres'), ['-D', data, ...settings.flatMap((one) => ['-c', one])], { ...options, stdio: 'ignore' });
  const ended = new Promise((done) => server.once('exit', done));
  t.after(async () => {
    server.kill('SIGQUIT');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  });
  const ready = () => {
    try {
      execFileSync(join(bin, 'pg_isready'), ['-q', '-h', '127.0.0.1', '-p', String(port)]);
      return true;
    } catch {
      return false;
    }
  };
  await until('PostgreSQL answers', STARTED_MS, ready);
  return `postgres://chat@127.0.0.1:${port}/postgres`;
}
