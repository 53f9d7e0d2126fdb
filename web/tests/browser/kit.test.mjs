// The React kit in a browser, against a gateway: the app of docs/react.md on React 19 and on preact/compat, its list, and its fallbacks.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { RUNTIMES, SOURCES } from '../../react/tests/runtimes.mjs';
import { close, open, person, picture, SOON_MS, stored } from './support/browser.mjs';
import { Gateway } from './support/gateway.mjs';
import { Peer } from './support/peer.mjs';
import { Site } from './support/site.mjs';
import { until } from './support/until.mjs';

before(open);
after(close);

const web = fileURLToPath(new URL('../../', import.meta.url));
const guide = readFileSync(new URL('../../../docs/react.md', import.meta.url), 'utf8');
const axe = readFileSync(new URL('../../node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
const [, example] = /^```tsx\n(.*?)^```$/ms.exec(guide);
/** The app decides about its layout: the list takes the room that is left. */
const LAYOUT = `
  :root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; background: light-dark(#f7f8f7, #131817); color: light-dark(#1c2421, #e6ece9); }
  body { margin: 0; }
  #app { box-sizing: border-box; height: 100vh; padding: .75rem; display: flex; flex-direction: column; gap: .5rem; }
  .sw-list, .sw-thread { flex: 1; }
  form { display: flex; gap: .5rem; }
  input { flex: 1; min-width: 0; font: inherit; padding: .3rem .6rem; }
`;

/** Bundles an app for a runtime, with the sources of the kit. */
async function bundle(runtime, contents) {
  const { outputFiles } = await build({
    stdin: { contents, loader: 'tsx', resolveDir: web }, bundle: true, write: false, outdir: 'out', format: 'esm', jsx: 'automatic', logLevel: 'error', ignoreAnnotations: true,
    define: { 'process.env.NODE_ENV': '"development"' },
    alias: { ...SOURCES, 'seawall-react/styles.css': `${web}react/src/styles.css`, ...RUNTIMES[runtime] },
  });
  const text = (extension) => outputFiles.find(({ path }) => path.endsWith(extension))?.text ?? '';
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>an app</title><style>${LAYOUT}${text('.css')}</style>
    <main id="app"></main><script type="module">${text('.js').replaceAll('</script', '<\\/script')}</script></html>`;
}

/** Opens an app in a browser. `fill` publishes before that. */
async function visit(t, runtime, contents, fill = async () => {}) {
  let gateway;
  const html = await bundle(runtime, contents);
  const site = await Site.start(t, () => html.replaceAll('"/ws"', JSON.stringify(`ws://127.0.0.1:${gateway.port}/ws`)));
  gateway = await Gateway.start(t, { toml: `[server]\norigins = ["${site.url}"]\n`, env: { SEAWALL_LIMITS_PUBLISHES_PER_S: '0', SEAWALL_LIMITS_COMMANDS_PER_S: '0' } });
  const peer = await Peer.connect(t, gateway);
  await fill(peer);
  const page = await (await person(t, { viewport: { width: 1440, height: 900 } })).newPage();
  await page.goto(site.url);
  const text = () => page.locator('#app').innerText();
  const sees = (what, pattern) => until(what, SOON_MS, async () => pattern.test(await text()), text);
  return { gateway, peer, page, text, sees };
}

/** No serious finding of axe, and nothing wider than the page; pictures at both widths, light and dark. */
async function looksRight(page, name) {
  await page.evaluate(axe);
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [1440, 360, 320]) {
      await page.setViewportSize({ width, height: width === 1440 ? 900 : 740 });
      await page.emulateMedia({ colorScheme });
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true, `${name} fits in ${width} px`);
      if (width !== 320) await picture(page, `kit-${name}-${width}-${colorScheme}`);
    }
    const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
    const serious = found.violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
    assert.deepEqual(serious.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]), [], `${name}, ${colorScheme}`);
  }
  await page.setViewportSize({ width: 1440, height: 900 });
}

for (const runtime of ['react-19', 'compat']) {
  test(`${runtime}: five bad messages turn the list into plain text, the draft stays, and a lost connection is shown`, async (t) => {
    const { gateway, peer, page, text, sees } = await visit(t, runtime, example, async (peer) => {
      for (const text of ['Morning! Did the deploy go through?', 'It did, at 08:12.', 'هل أنت متأكد؟ 100%']) await peer.say('lobby', text);
    });
    // Both runtimes make the same elements.
    const looks = (name) => (runtime === 'compat' && name !== 'thread' ? undefined : looksRight(page, `${runtime}-${name}`));
    await sees('the messages', /متأكد/);
    await looks('list');
    await page.fill('input', 'a draft');
    const bad = (count) => page.waitForFunction((count) => document.querySelectorAll('.sw-plain').length === count, count);
    // The example expects an object, so its renderer throws.
    await peer.ask('publish', { channel: 'lobby', key: 'bad0', data: null });
    await bad(1);
    await sees('its text, and the other messages', /متأكد[^]*anonymous: null\n*Shown as plain text/);
    await looks('message');
    // Five within ten seconds: on a slow machine the first was longer ago, and the next ones may take longer.
    for (let round = 1; round <= 4 && !/shown as plain text\./.test(await text()); round += 1) {
      for (let at = 1; at <= 5; at += 1) await peer.ask('publish', { channel: 'lobby', key: `bad${round}${at}`, data: null });
      await page.locator('.sw-thread').waitFor({ timeout: 10_000 }).catch(() => {});
    }
    await sees('the plain form', /shown as plain text\.[^]*anonymous: Morning![^]*anonymous: null/);
    assert.equal(await page.locator('.sw-list').count(), 0);
    assert.equal(await page.inputValue('input'), 'a draft');
    await looks('thread');
    await page.press('input', 'Enter');
    await sees('the message, sent from the plain form', /anonymous: a draft/);
    // It is stored now. With the reply it also leaves the outbox, from which the next page would send it again.
    await until('nothing waits', SOON_MS, async () => !/queued|sending|waiting/.test(await page.locator('body').innerText()));
    await page.fill('input', 'another draft');
    await gateway.kill();
    await sees('the cause, and what still works', /Reconnecting… .*\n?[^]*Since[^]*What you write now is sent later\.[^]*Connect now/);
    await looks('lost');
    await page.reload();
    await until('the draft is there after a reload', SOON_MS, async () => await page.inputValue('input') === 'another draft');
    await page.press('input', 'Enter');
    await sees('it waits', /1 waiting/);
    await gateway.restart();
    await sees('the end of the outage', /another draft/);
    const again = await Peer.connect(t, gateway);
    await until('it is stored once', SOON_MS, async () => (await again.stored('lobby')).filter(({ data }) => data?.text === 'another draft').length === 1);
  });
}

const LIST = `
  import { createRoot } from 'react-dom/client';
  import { createKit, SeawallProvider } from 'seawall-react';
  import { MessageList, useChannel } from 'seawall-react/chat';
  import 'seawall-react/styles.css';
  function Room() {
    const { messages, hasOlder, loading, older, newest } = useChannel('lobby', { last: 200 });
    return <MessageList items={messages} hasOlder={hasOlder} loading={loading} onOlder={() => older(200)} onEnd={newest}>{(item) => <p>{item.data.text}</p>}</MessageList>;
  }
  createRoot(document.getElementById('app')).render(<SeawallProvider kit={createKit()} url="/ws"><Room /></SeawallProvider>);
`;

test('the list has at most 150 rows, keeps its place, counts what is new, and is used with the keyboard', async (t) => {
  const { peer, page, sees } = await visit(t, 'react-19', LIST, async (peer) => {
    for (let at = 1; at <= 400; at += 1) await peer.say('lobby', `message ${at} ${'word '.repeat(at % 30)}`);
  });
  const facts = () => page.evaluate(() => {
    const box = document.querySelector('.sw-scroll');
    const rows = [...box.querySelectorAll('li')];
    const edge = box.getBoundingClientRect().top;
    const first = rows.find((row) => row.getBoundingClientRect().bottom > edge);
    const number = (row) => Number(/message (\d+)/.exec(row.textContent)[1]);
    return {
      count: rows.length, top: first && number(first), place: first && Math.round(first.getBoundingClientRect().top - edge), last: rows.length && number(rows.at(-1)),
      atEnd: box.scrollHeight - box.scrollTop - box.clientHeight < 5, inOrder: rows.every((row, at) => at === 0 || number(row) === number(rows[at - 1]) + 1),
    };
  });
  const holds = (what, check) => until(what, SOON_MS, async () => check(await facts()), async () => JSON.stringify(await facts()));
  await holds('the end', ({ last, atEnd, count }) => last === 400 && atEnd && count <= 150);
  // Scrolling up in steps reaches the first message, with few rows at each step.
  let { top: row } = await facts();
  await until('the first message', 3 * SOON_MS, async () => {
    await page.locator('.sw-scroll').evaluate((box) => { box.scrollTop = Math.max(0, box.scrollTop - box.clientHeight / 2); });
    const { count, inOrder, top } = await facts();
    assert.ok(count <= 150 && inOrder, `${count} rows`);
    // Half of the height is some ten rows: the list does not jump when rows are put above.
    assert.ok(row - top < 25, `from ${row} to ${top}`);
    row = top;
    return top === 1;
  }, async () => JSON.stringify(await facts()));
  await page.locator('.sw-scroll').evaluate((box) => { box.scrollTop += box.clientHeight; });
  let before;
  await until('the list is at rest', SOON_MS, async () => {
    const last = JSON.stringify(before);
    await page.evaluate(() => new Promise((next) => requestAnimationFrame(() => requestAnimationFrame(next))));
    before = await facts();
    return JSON.stringify(before) === last;
  });
  for (const text of ['one', 'two', 'three']) await peer.say('lobby', text);
  await sees('what is new', /↓ 3 new messages/);
  const { top, place, count } = await facts();
  assert.deepEqual([top, place], [before.top, before.place], 'the reader keeps the place');
  assert.ok(count <= 150);
  await page.getByRole('button', { name: /3 new messages/ }).click();
  await sees('the newest', /three$/);
  await until('the end is followed', SOON_MS, () => page.evaluate(() => {
    const box = document.querySelector('.sw-scroll');
    return box.scrollHeight - box.scrollTop - box.clientHeight < 5;
  }));
  assert.equal(await page.locator('.sw-newer').count(), 0);
  // The log is one stop of the Tab key.
  await page.locator('body').press('Tab');
  const focused = () => page.evaluate(() => document.activeElement.textContent);
  await until('the last row has the focus', SOON_MS, async () => {
    if (await focused() === 'three') return true;
    await page.keyboard.press('Tab');
    return false;
  }, focused);
  await page.keyboard.press('ArrowUp');
  await until('the row above has the focus', SOON_MS, async () => await focused() === 'two', focused);
});

const FALLBACKS = `
  import { StrictMode } from 'react';
  import { createRoot } from 'react-dom/client';
  import { durable } from 'seawall-client/outbox';
  import { AppBoundary, ChatBoundary, createKit, rootOptions, SeawallProvider } from 'seawall-react';
  import { usePublish } from 'seawall-react/chat';
  import 'seawall-react/styles.css';
  const kit = createKit({ release: 'web 1.4.2', log: false, policy: { chat: { autoRetries: 0, failures: 2 } } });
  function Chat() {
    const publish = usePublish('lobby');
    if (location.hash === '#broken') throw new Error('The chat is broken');
    return <button onClick={() => void publish({ text: 'keep me' })}>Write</button>;
  }
  createRoot(document.getElementById('app'), rootOptions(kit)).render(
    <StrictMode><AppBoundary kit={kit}><SeawallProvider kit={kit} url="/ws" outbox={durable()}><ChatBoundary resetKey={0}><Chat /></ChatBoundary></SeawallProvider></AppBoundary></StrictMode>,
  );
`;

test('a broken chat shows what waits to be sent, and a broken app that it is safe', async (t) => {
  const { gateway, page, sees } = await visit(t, 'react-19', FALLBACKS);
  await sees('the chat', /Write/);
  await gateway.kill();
  await page.getByRole('button', { name: 'Write' }).click();
  await page.evaluate(() => { location.hash = '#broken'; });
  // The client and its outbox outlive the reload of the page, once storage has the message.
  await until('it is stored', SOON_MS, async () => (await page.evaluate(stored)).length === 1);
  await page.reload();
  await sees('the card', /The chat cannot be shown\.[^]*Not sent yet: 1/);
  assert.equal(await page.locator('textarea').inputValue(), 'keep me');
  await looksRight(page, 'chat');
  await page.getByRole('button', { name: 'Try again' }).click();
  await sees('the page', /This page cannot be shown\.[^]*1 unsent message is safe in this browser\./);
  await looksRight(page, 'app');
});

/** A list whose last row grows, as an answer does. */
const GROWS = `
  import { createRoot } from 'react-dom/client';
  import { useState } from 'react';
  import { MessageList } from 'seawall-react/chat';
  import 'seawall-react/styles.css';

  const items = Array.from({ length: 60 }, (_, at) => ({ id: 'm' + at }));
  function Last() {
    const [height, setHeight] = useState(40);
    window.grow = (by) => setHeight((now) => now + by);
    return <div style={{ height }} />;
  }
  createRoot(document.getElementById('app')).render(<MessageList items={items}>{({ id }) => (id === 'm59' ? <Last /> : <div style={{ height: 40 }} />)}</MessageList>);
`;

test('the end is followed however fast a row grows, and a reader who moved up a little is left alone', async (t) => {
  const html = await bundle('compat', GROWS);
  const site = await Site.start(t, () => html);
  const page = await (await person(t)).newPage();
  await page.goto(site.url);
  await page.waitForFunction(() => window.grow);
  /** Grows the row in each of these frames, and returns the place of the list after them. */
  const grow = (frames) => page.evaluate(async (frames) => {
    const box = document.querySelector('.sw-scroll');
    const frame = () => new Promise((done) => requestAnimationFrame(done));
    for (let left = frames; left > 0; left -= 1) {
      window.grow(200);
      await frame();
    }
    for (let rest = 0; rest < 4; rest += 1) await frame();
    return { top: box.scrollTop, below: Math.round(box.scrollHeight - box.scrollTop - box.clientHeight) };
  }, frames);
  assert.equal((await grow(30)).below, 0);
  const before = await page.evaluate(() => (document.querySelector('.sw-scroll').scrollTop -= 30));
  assert.equal((await grow(1)).top, before);
  const { top, below } = await grow(20);
  assert.deepEqual([top, below], [before, 30 + 21 * 200]);
  await page.locator('.sw-newer').click();
  assert.equal((await grow(10)).below, 0);
});
