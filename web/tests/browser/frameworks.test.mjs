// The React and Vue components of docs/sdk.md and the example page, in a browser, against a gateway.

import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { compileScript, parse } from 'vue/compiler-sfc';
import { close, open, person } from './support/browser.mjs';
import { Gateway } from './support/gateway.mjs';
import { Peer } from './support/peer.mjs';
import { Site } from './support/site.mjs';
import { until } from './support/until.mjs';

const SEEN_MS = 20_000;
/** Errors that the browser reports itself: no icon, and no connection while the gateway is down. */
const EXPECTED = /Failed to load resource|WebSocket connection/;

before(open);
after(close);

const web = fileURLToPath(new URL('../../', import.meta.url));
const guide = readFileSync(new URL('../../../docs/sdk.md', import.meta.url), 'utf8');

/** Returns the one block of this language that contains a text. */
function block(language, text) {
  const found = [...guide.matchAll(/^```(\w+)\n(.*?)^```$/gms)].filter(([, is, body]) => is === language && body.includes(text));
  if (found.length !== 1) throw new Error(`docs/sdk.md has ${found.length} ${language} blocks with ${text}`);
  return found[0][2];
}

/** Bundles an entry with modules given as text, and with the library's sources. */
async function bundle(entry, modules = {}) {
  const given = {
    name: 'given',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^\.\// }, ({ path }) => (path in modules ? { path, namespace: 'given' } : undefined));
      onLoad({ filter: /./, namespace: 'given' }, ({ path }) => ({ contents: modules[path], loader: 'jsx', resolveDir: web }));
    },
  };
  const { outputFiles } = await build({
    stdin: { contents: entry, loader: 'jsx', resolveDir: web }, bundle: true, write: false, format: 'esm', jsx: 'automatic', logLevel: 'error',
    define: { 'process.env.NODE_ENV': '"development"', __VUE_OPTIONS_API__: 'true', __VUE_PROD_DEVTOOLS__: 'false', __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: 'false' },
    alias: { 'seawall-client': `${web}client/src/index.ts`, 'seawall-client/timeline': `${web}client/src/timeline.ts` },
    plugins: [given],
  });
  return outputFiles[0].text;
}

/** A page of another origin, opened. `html` gets the gateway. */
async function visit(t, html) {
  let gateway;
  const site = await Site.start(t, () => html(gateway));
  gateway = await Gateway.start(t, { toml: `[server]\norigins = ["${site.url}"]\n`, env: { SEAWALL_LIMITS_PUBLISHES_PER_S: '0', SEAWALL_LIMITS_COMMANDS_PER_S: '0' } });
  const peer = await Peer.connect(t, gateway);
  for (let n = 1; n <= 60; n += 1) await peer.say('lobby', `message ${n}`);
  const page = await (await person(t)).newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(error.message));
  page.on('console', (message) => { if (message.type() === 'error' && !EXPECTED.test(message.text())) errors.push(message.text()); });
  await page.goto(site.url);
  const lines = () => page.locator('li').allTextContents();
  const sees = (what, done) => until(what, SEEN_MS, async () => done(await lines()), async () => {
    if (errors.length > 0) throw new Error([what, ...errors].join('\n'));
    return (await lines()).join('\n');
  });
  return { gateway, peer, page, errors, sees };
}

/** Uses a chat: its log, its earlier messages, edits and deletes by others, and a message that is written while the gateway is down. */
async function use(t, { gateway, peer, page, errors, sees }, [input, send]) {
  await sees('the newest messages', (all) => all.length === 50 && all.at(-1).includes('message 60'));
  await page.getByRole('button', { name: 'Earlier messages' }).click();
  await sees('all messages', (all) => all.length === 60 && all[0].includes('message 1'));
  await peer.ask('publish', { channel: 'lobby', key: 'edit', edits: 60, data: { text: 'edited' } });
  await peer.ask('publish', { channel: 'lobby', key: 'delete', deletes: 59, data: null });
  await sees('the edit and the delete', (all) => all.at(-1).includes('edited') && all.at(-2).includes('deleted'));
  await gateway.kill();
  await page.waitForFunction(() => /waiting|connecting/.test(document.querySelector('[role=status]').textContent));
  await page.fill(input, 'written offline');
  await page.click(send);
  await sees('the message that waits', (all) => all.length === 61 && /written offline.*queued/s.test(all.at(-1)));
  await gateway.restart();
  await sees('the message is stored', (all) => all.length === 61 && /written offline\s*$/.test(all.at(-1)));
  if (errors.length > 0) throw new Error(errors.join('\n'));
}

const page = (script) => `<!doctype html><meta charset="utf-8"><title>an app</title><div id="app"></div><script type="module">${script.replaceAll('</script', '<\\/script')}</script>`;
const client = "const client = connect(URL_OF_THE_GATEWAY);";
const addressed = (html) => (gateway) => html.replace('URL_OF_THE_GATEWAY', JSON.stringify(`ws://127.0.0.1:${gateway.port}/ws`));

test('the React components of docs/sdk.md draw a chat, also under StrictMode', async (t) => {
  const script = await bundle(`
    import { StrictMode } from 'react';
    import { createRoot } from 'react-dom/client';
    import { connect } from 'seawall-client';
    import { Connection, Room } from './chat.jsx';
    ${client}
    createRoot(document.getElementById('app')).render(<StrictMode><Connection client={client} /><Room client={client} name="lobby" /></StrictMode>);
  `, { './chat.jsx': block('jsx', "from 'react'") });
  await use(t, await visit(t, addressed(page(script))), ['input', 'form button']);
});

test('the Vue component of docs/sdk.md draws a chat', async (t) => {
  const { descriptor, errors } = parse(block('vue', '<script setup>'), { filename: 'Room.vue' });
  if (errors.length > 0) throw errors[0];
  const script = await bundle(`
    import { createApp } from 'vue';
    import { connect } from 'seawall-client';
    import Room from './Room.vue';
    ${client}
    createApp(Room, { client, name: 'lobby' }).mount('#app');
  `, { './Room.vue': compileScript(descriptor, { id: 'room', inlineTemplate: true }).content, './use-value.js': block('js', "from 'vue'") });
  await use(t, await visit(t, addressed(page(script))), ['input', 'form button']);
});

test('the example page is a chat', async (t) => {
  const html = readFileSync(new URL('../../client/examples/page.html', import.meta.url), 'utf8');
  const chat = await visit(t, (gateway) => {
    const served = { index: 'seawall-client', durable: 'seawall-client-outbox', presence: 'seawall-client-presence', timeline: 'seawall-client-timeline' };
    return html.replace(/'\.\.\/lib\/(\w+)\.js'/g, (_, name) => `'http://127.0.0.1:${gateway.port}/${served[name]}.js'`)
      .replace("'/ws'", `'ws://127.0.0.1:${gateway.port}/ws'`);
  });
  await use(t, chat, ['input', 'form button']);
});
