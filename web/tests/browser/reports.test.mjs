// Errors that an app meets offline reach the gateway once, although the browser was closed meanwhile.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { profile, SOON_MS } from './support/browser.mjs';
import { Gateway } from './support/gateway.mjs';
import { until } from './support/until.mjs';

const KINDS = 50;

/** Runs in the page: begins to report, through a client of its own. */
const begin = async () => {
  const [{ connect }, { reports }] = await Promise.all([import('/seawall-client.js'), import('/seawall-client-reports.js')]);
  window.reporter = reports(connect('/ws', { client: 'app/1' }));
};

/** Runs in the page: the groups in its storage. */
const kept = () => new Promise((done) => {
  const opening = indexedDB.open('seawall-reports');
  opening.onsuccess = () => {
    const all = opening.result.transaction('groups').objectStore('groups').getAll();
    all.onsuccess = () => {
      opening.result.close();
      done(all.result.length);
    };
  };
});

test('fifty kinds of errors made offline arrive once after the browser was closed', async (t) => {
  const gateway = await Gateway.start(t, { env: { SEAWALL_ADMIN_LISTEN: '127.0.0.1:0' } });
  const folder = mkdtempSync(join(tmpdir(), 'seawall-profile-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const first = await profile(folder);
  const page = await first.newPage();
  await page.goto(gateway.url);
  await page.evaluate(begin);
  await first.setOffline(true);
  await gateway.kill();
  await page.evaluate((kinds) => {
    const letters = (number) => String(number).replace(/\d/g, (digit) => 'abcdefghij'[digit]);
    for (let at = 0; at < kinds; at += 1) window.reporter.report(Object.assign(new Error('made offline'), { name: `Kind${letters(at)}` }), { context: { release: 'app 1' } });
  }, KINDS);
  await until('storage has all', SOON_MS, async () => (await page.evaluate(kept)) === KINDS);
  await first.close();

  await gateway.restart();
  const admin = await until('the admin listener is named', SOON_MS, () => /admin +(http:\/\/[\d.:]+)\//.exec(gateway.log)?.[1]);
  const headers = { Authorization: `Bearer ${readFileSync(join(gateway.data, 'admin.token'), 'utf8').trim()}` };
  const second = await profile(folder);
  t.after(() => second.close());
  const next = await second.newPage();
  await next.goto(gateway.url);
  await next.evaluate(begin);
  await until('all are reported', SOON_MS, async () => (await next.evaluate(kept)) === 0);
  // The gateway answers a report before it groups the errors.
  const groups = await until('all are grouped', SOON_MS, async () => {
    const { groups } = await (await fetch(`${admin}/client-errors`, { headers })).json();
    return groups.length >= KINDS && groups;
  });
  assert.deepEqual([groups.length, groups.every(({ count, releases }) => count === 1 && releases[0] === 'app 1')], [KINDS, true]);
});
