// The console: log in, watch a dependency fail, lose the gateway; and its layout in every state and width.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { close, open, person, Tab } from './support/browser.mjs';
import { ConsoleStub } from './support/console_stub.mjs';
import { Gateway } from './support/gateway.mjs';
import { Peer } from './support/peer.mjs';
import { until } from './support/until.mjs';

const axe = readFileSync(new URL('../../node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
const PAGES = { overview: 'Overview', slos: 'SLOs', dependencies: 'Dependencies', clients: 'Clients', errors: 'Client errors', 'errors?name=9f2c41d0': 'Client errors', 'lookup?kind=user&name=ann': 'Look up', alerts: 'Alerts', relay: 'Relay', flags: 'Flags', drain: 'Drain', settings: 'Settings' };

before(open);
after(close);

/** A gateway with an admin listener on a free port: `admin` is its address, `ask` a request of an operator. */
async function started(t, toml = '') {
  const gateway = await Gateway.start(t, { toml, env: { SEAWALL_ADMIN_LISTEN: '127.0.0.1:0' } });
  await until('the admin listener is named', 10_000, () => {
    gateway.admin = /admin +(http:\/\/[\d.:]+)\//.exec(gateway.log)?.[1];
    return gateway.admin !== undefined;
  });
  const token = readFileSync(join(gateway.data, 'admin.token'), 'utf8').trim();
  const ask = async (method, path, body) => {
    const send = () => fetch(gateway.admin + path, { method, headers: { Authorization: `Bearer ${token}` }, body: body === undefined ? undefined : JSON.stringify(body) });
    // A connection may be turned out for a newer one before its request arrives, so its end is no answer; a third one is a fault.
    const again = (error) => (['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET'].includes(error.cause?.code) ? send() : Promise.reject(error));
    const answer = await send().catch(again).catch(again);
    return answer.json();
  };
  const code = async (scope) => (await ask('POST', '/console/links', { scope })).code;
  return { gateway, token, ask, code };
}

const consoleOf = (gateway) => ({ url: `${gateway.admin}/console` });
/** Expects what Chromium logs for answers that a test wants to be refused. */
const isRefused = (tab) => tab.expect(/status of (401|403)/);

test('a link opens the console once, for a tab without cookies, and the token opens it too', async (t) => {
  const { gateway, token, code } = await started(t);
  const used = await code('operate');
  const context = await person(t);
  const tab = await Tab.open(t, context, consoleOf(gateway), `#code=${used}`);
  await tab.sees('the overview', tab.shown, (text) => text.includes('All is well') && text.includes('gateway started'));
  assert.ok(!tab.page.url().includes(used), 'the code leaves the address bar');
  await tab.page.reload();
  await tab.sees('the overview after a reload', tab.shown, (text) => text.includes('All is well'));
  assert.deepEqual(await context.cookies(), []);
  const key = () => tab.page.evaluate(() => sessionStorage.getItem('seawall-session')).catch(() => null);
  const [old, fresh] = [await key(), await code('operate')];
  await tab.page.evaluate((hash) => { location.hash = hash; }, `#code=${fresh}`);
  await tab.sees('a session by the link that was pasted', key, (now) => now !== null && now !== old);
  await tab.sees('the overview again', tab.shown, (text) => text.includes('All is well'));
  assert.ok(!tab.page.url().includes(fresh));
  await tab.sees('a second that was sampled', () => tab.page.locator('.figure .value').first().innerText(), (text) => text === '0');
  // A question that is under way may come after the end of the session.
  isRefused(tab);
  await tab.page.getByRole('button', { name: 'Log out' }).click();
  await tab.sees('the form', tab.shown, (text) => text.includes('seawall console'));

  const again = await Tab.open(t, context, consoleOf(gateway), `#code=${used}`);
  isRefused(again);
  await again.sees('why the link does not work', again.shown, (text) => text.includes('used before'));
  await again.page.fill('input[name=token]', 'wrong');
  await again.page.press('input[name=token]', 'Enter');
  await again.sees('that the token is wrong', again.shown, (text) => text.includes('admin.token'));
  await again.page.fill('input[name=token]', token);
  await again.page.press('input[name=token]', 'Enter');
  await again.sees('the overview', again.shown, (text) => text.includes('All is well'));
});

test('a dependency goes down and comes back on the page, and a session that may only read has no actions', async (t) => {
  let isUp = true;
  const service = http.createServer((_, answer) => {
    answer.statusCode = isUp ? 200 : 503;
    answer.end();
  });
  await new Promise((ready) => service.listen(0, '127.0.0.1', ready));
  t.after(() => service.close());
  const { gateway, ask, code } = await started(t, `[[dependency]]\nname = "backend"\nkind = "http"\nurl = "http://127.0.0.1:${service.address().port}/"\ncriticality = "optional"\nlost = ["replies"]\n`);
  const context = await person(t);
  const tab = await Tab.open(t, context, consoleOf(gateway), `#code=${await code('operate')}`);
  await tab.page.getByRole('link', { name: 'Dependencies' }).click();
  await tab.sees('its state', tab.shown, (text) => text.includes('backend') && text.includes('All is well'));
  isUp = false;
  await tab.page.getByRole('button', { name: 'Probe now' }).click();
  await tab.sees('the outage', tab.shown, (text) => /Degraded/.test(text) && /Clients quote the reference/.test(text) && /503/.test(text), 40_000);
  // Changes are found each second, so an outage must last as long.
  await tab.page.getByRole('link', { name: 'Overview' }).click();
  await tab.sees('the change', tab.shown, (text) => text.includes('backend is down'));
  await tab.page.getByRole('link', { name: 'Dependencies' }).click();
  isUp = true;
  await tab.page.getByRole('button', { name: 'Probe now' }).click();
  await tab.sees('the past outage', tab.shown, (text) => text.includes('All is well') && !text.includes('None since this gateway started'), 40_000);
  await tab.page.getByRole('link', { name: 'Overview' }).click();
  await tab.sees('the changes', tab.shown, (text) => text.includes('backend is down') && text.includes('backend is ok') && text.includes('probe of backend requested'));

  await tab.page.getByRole('link', { name: 'Dependencies' }).click();
  await tab.page.getByRole('button', { name: 'Hold out of service…' }).click();
  await tab.sees('the focus', () => tab.page.evaluate(() => document.activeElement.textContent), (text) => text === 'Cancel');
  await tab.page.fill('dialog input[name=minutes]', '1');
  await tab.page.locator('dialog').getByRole('button', { name: 'Hold' }).click();
  await tab.sees('that it is held', tab.shown, (text) => text.includes('out of service by an operator'));
  assert.equal((await ask('GET', '/health/dependencies/backend')).forced.to, 'open');

  const reader = await Tab.open(t, await person(t), consoleOf(gateway), `#code=${await code('read')}`);
  await reader.page.getByRole('link', { name: 'Dependencies' }).click();
  await reader.sees('what it may read', reader.shown, (text) => text.includes('read only') && text.includes('Past outages'));
  assert.equal(await reader.page.getByRole('button', { name: /Probe|Hold|Release/ }).count(), 0);
});

test('a route that its backend ended is resumed on the page, a test shows what the backend answers, and a dead letter is sent again', async (t) => {
  let status = 410;
  const backend = http.createServer((request, answer) => {
    request.resume().on('end', () => answer.writeHead(status, { 'content-type': 'application/json' }).end());
  });
  await new Promise((ready) => backend.listen(0, '127.0.0.1', ready));
  t.after(() => backend.close());
  const route = `[[relay]]\nname = "assistant"\npattern = "thread.*"\nurl = "http://127.0.0.1:${backend.address().port}/"\nsecrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]\nuser = "assistant"\n`;
  const { gateway, ask, code } = await started(t, route);
  const peer = await Peer.connect(t, gateway);
  await peer.ask('publish', { channel: 'thread.7', key: 'question-1', data: { text: 'Hello?' } });
  const tab = await Tab.open(t, await person(t), consoleOf(gateway), `#code=${await code('operate')}`);
  await tab.page.getByRole('link', { name: 'Relay' }).click();
  await tab.sees('the pause', tab.shown, (text) => text.includes('paused by 410') && text.includes('gone 1'), 20_000);
  status = 204;
  await tab.page.getByRole('button', { name: 'Try…' }).click();
  await tab.page.locator('dialog').getByRole('button', { name: 'Send' }).click();
  await tab.sees('the response to the test', tab.shown, (text) => /assistant 204 in \d+ ms: taken/.test(text));
  await tab.page.getByRole('button', { name: 'Resume…' }).click();
  await tab.page.locator('dialog').getByRole('button', { name: 'Resume' }).click();
  await tab.sees('that it sends', tab.shown, (text) => text.includes('sends') && text.includes('taken 1'), 20_000);
  assert.equal((await ask('GET', '/relay')).routes[0].paused, false);
  status = 422;
  await peer.ask('publish', { channel: 'thread.7', key: 'question-2', data: { text: 'And now?' } });
  await tab.sees('the dead letter', tab.shown, (text) => text.includes('refused (422)'), 20_000);
  status = 204;
  await tab.page.getByRole('button', { name: 'Replay…' }).click();
  await tab.page.locator('dialog').getByRole('button', { name: 'Replay' }).click();
  await tab.sees('that it was taken', tab.shown, (text) => text.includes('thread.7: 1 taken'), 20_000);
});

test('what is shown says how old it is while the gateway is gone', async (t) => {
  const { gateway, code } = await started(t);
  const tab = await Tab.open(t, await person(t), consoleOf(gateway), `#code=${await code('operate')}`);
  await tab.sees('the overview', tab.shown, (text) => text.includes('All is well'));
  await gateway.kill();
  await tab.sees('that it is old', tab.shown, (text) => /No answer from \S+\s+for \d+ s/.test(text), 30_000);
  assert.ok(await tab.page.locator('.frame.old').count() === 1);
  await tab.picture('console-old');
});

test('operators are answered while eight tabs watch a drain and slow peers hold connections open', async (t) => {
  const { gateway, token, ask } = await started(t, '[drain]\nspread_ms = 60000\nclose_ms = 90000\nexit_ms = 120000\n');
  await Peer.connect(t, gateway);
  const opened = await fetch(`${gateway.admin}/console/session`, { method: 'POST', headers: { Authorization: `Bearer ${token}` } });
  const { session } = await opened.json();
  const context = await person(t);
  await context.addInitScript((key) => sessionStorage.setItem('seawall-session', key), session);
  const tabs = await Promise.all(Array.from({ length: 8 }, () => Tab.open(t, context, consoleOf(gateway), '#/drain')));
  const slow = Array.from({ length: 12 }, () => net.connect(Number(new URL(gateway.admin).port), '127.0.0.1', function send() { this.write('GET /health HTTP/1.1\r\nHost: loc'); }).on('error', () => {}));
  t.after(() => slow.forEach((peer) => peer.destroy()));
  assert.equal((await ask('POST', '/drain')).cause, 'operator');
  for (let turn = 0; turn < 40; turn += 1) {
    const answers = await Promise.all([ask('GET', '/health/live'), ask('POST', '/health/dependencies/gateway/probe'), ask('GET', '/drain')]);
    // The watch thread of a busy machine may need longer than a second for a probe, and then the gateway says so.
    const [live, probe, drain] = answers.map(({ error }) => error);
    assert.deepEqual([live, drain], [undefined, undefined], `turn ${turn}`);
    assert.ok(probe === undefined || probe === 'unavailable', `turn ${turn}: ${probe}`);
  }
  await Promise.all(tabs.map((tab) => tab.sees('the drain', tab.shown, (text) => /drains/.test(text) && /Still here/.test(text) && /live, [0-4] s old/.test(text))));
});

/** Runs in the page: the faults of its layout, as sentences. */
const faults = (isPhone) => {
  const found = [];
  const name = (node) => `${node.tagName.toLowerCase()}${typeof node.className === 'string' && node.className !== '' ? `.${node.className}` : ''} "${(node.textContent ?? '').slice(0, 30)}"`;
  const isShown = (node) => node.getClientRects().length > 0 && getComputedStyle(node).clipPath === 'none';
  if (document.documentElement.scrollWidth > innerWidth) found.push(`the page is ${document.documentElement.scrollWidth} px wide`);
  for (const node of document.body.querySelectorAll('*')) {
    if (!isShown(node) || node.closest('svg') !== null && node.tagName !== 'text') continue;
    const style = getComputedStyle(node);
    if ([...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim() !== '') && parseFloat(style.fontSize) < 11) found.push(`small text: ${name(node)}`);
    const isScroller = node.matches('.scroll, .pages');
    if (node instanceof HTMLElement && style.overflowX !== 'visible' && !isScroller && node.scrollWidth > node.clientWidth + 1 && !node.matches('input, select')) found.push(`cut text: ${name(node)}`);
    if (node.matches('a, button, input, select')) {
      const { width, height } = node.getBoundingClientRect();
      const least = isPhone && node.matches('button, input, select, .pages a, .list a') ? 44 : 24;
      if (height < least - 0.5 || width < 24) found.push(`small target, ${Math.round(width)} by ${Math.round(height)}: ${name(node)}`);
    }
    const children = [...node.children].filter((child) => isShown(child) && !['absolute', 'fixed', 'sticky'].includes(getComputedStyle(child).position) && getComputedStyle(child).display !== 'inline');
    if (node.closest('svg') === null) children.forEach((one, at) => children.slice(at + 1).forEach((other) => {
      const [a, b] = [one.getBoundingClientRect(), other.getBoundingClientRect()];
      if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1) found.push(`overlap: ${name(one)} and ${name(other)}`);
    }));
  }
  return found;
};

const STATES = ['ok', 'down', 'drain', 'several', 'empty'];
const WIDTHS = [1440, 1024, 360, 320];

test('no page overflows, overlaps or is cut, in any state, width and colour, and axe finds nothing serious', async (t) => {
  const stub = await ConsoleStub.start(t);
  const all = [];
  for (const colorScheme of ['light', 'dark']) {
    const context = await person(t, { colorScheme });
    await context.addInitScript(() => sessionStorage.setItem('seawall-session', 'any'));
    const tab = await Tab.open(t, context, stub);
    tab.expect(/status of 404/);
    await tab.page.evaluate(axe);
    for (const state of STATES) {
      stub.state = state;
      await tab.page.reload();
      await tab.page.evaluate(axe);
      for (const [page, title] of Object.entries(PAGES)) {
        await tab.page.evaluate((hash) => { location.hash = hash; }, `#/${page}`);
        await tab.sees(`${page} in the state ${state}`, () => tab.page.evaluate(() => [document.querySelector('main h1')?.textContent, document.querySelectorAll('main .card').length]), ([shown, cards]) => shown === title && cards > 0);
        for (const width of WIDTHS) {
          await tab.page.setViewportSize({ width, height: width < 500 ? 740 : 900 });
          await tab.page.evaluate(() => new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next))));
          const where = `${page}, ${state}, ${width}, ${colorScheme}`;
          all.push(...(await tab.page.evaluate(faults, width < 500)).map((fault) => `${where}: ${fault}`));
          if (width === 1440 || width === 360) await tab.picture(`console-${page.replace(/\W.*/, '')}-${state}-${width}-${colorScheme}`);
        }
        // axe takes a second: it looks at each page once in each colour, and where a state adds to a page.
        if (state !== 'down' && state !== page && `${state} ${page}` !== 'several overview') continue;
        const { violations } = await tab.page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
        all.push(...violations.filter(({ impact }) => impact === 'serious' || impact === 'critical').map(({ id, nodes }) => `${page}, ${state}, ${colorScheme}: ${id}: ${nodes.map((node) => node.html.slice(0, 120)).join(' ')}`));
      }
    }
  }
  assert.deepEqual([...new Set(all)], []);
});

test('all files of the console together are at most 40 kB with gzip', () => {
  const folder = new URL('../../dist/console/', import.meta.url);
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((file) => file.isFile() && !/\.(rs|gz)$/.test(file.name));
  const bytes = files.reduce((sum, file) => sum + gzipSync(readFileSync(join(file.parentPath ?? file.path, file.name))).length, 0);
  assert.ok(bytes > 5_000 && bytes <= 40_000, `${bytes} bytes`);
});
