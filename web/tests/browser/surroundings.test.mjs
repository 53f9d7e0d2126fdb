// Places that lack what most pages have: an origin that is not secure, and workers, which have no document.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { close, open, person, SOON_MS, Tab } from './support/browser.mjs';
import { Gateway } from './support/gateway.mjs';
import { Peer } from './support/peer.mjs';
import { Site } from './support/site.mjs';
import { until } from './support/until.mjs';

before(open);
after(close);

test('an origin that is not secure keeps what was written while the gateway was away, and sends it once', async (t) => {
  const gateway = await Gateway.start(t, { toml: '[server]\nhosts = ["chat.test"]\n' });
  const tab = await Tab.open(t, await person(t), { url: `http://chat.test:${gateway.port}` });
  // Chromium says that the header has no effect there.
  tab.expect(/Cross-Origin-Opener-Policy/);
  await tab.state(/online/);
  const has = await tab.page.evaluate(() => [isSecureContext, navigator.locks !== undefined, crypto.randomUUID !== undefined]);
  assert.deepEqual(has, [false, false, false]);
  await tab.say('one');
  await tab.reads(['one']);
  await tab.isWhole();
  await gateway.kill();
  await tab.say('two');
  await tab.keeps('two');
  await gateway.restart();
  await tab.page.goto(`http://chat.test:${gateway.port}/`);
  await tab.reads(['one', 'two']);
  const stored = await (await Peer.connect(t, gateway)).stored('lobby');
  assert.deepEqual(stored.map(({ data }) => data.text), ['one', 'two']);
});

/** Says in the channel that it is here, and where its outbox is, and answers who says hello. */
const worker = (gateway) => `
import { connect } from '${gateway.url}/seawall-client.js';
import { durable } from '${gateway.url}/seawall-client-outbox.js';
const kind = self.constructor.name.replace('GlobalScope', '');
const client = connect('ws://127.0.0.1:${gateway.port}/ws', { outbox: durable() });
const room = client.channel('lobby');
const say = (text) => room.publish({ name: kind, text });
room.on('publication', ({ data }) => { if (data.text === 'hello') say('HELLO in ' + client.outbox.storage.value); });
say('here');
`;

const PAGE = `<!doctype html><title>workers</title><script type="module">
new Worker('/worker.js', { type: 'module' });
new SharedWorker('/worker.js', { type: 'module' });
await navigator.serviceWorker.register('/worker.js', { type: 'module' });
</script>`;

test('the library publishes, receives and keeps its outbox in a worker, a shared worker and a service worker', async (t) => {
  const site = await Site.start(t, () => PAGE, { '/worker.js': () => worker(gateway) });
  const gateway = await Gateway.start(t, { toml: `[server]\norigins = ["${site.url}"]\n` });
  const peer = await Peer.connect(t, gateway);
  const page = await (await person(t)).newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  await page.goto(site.url);
  const said = async (wanted) => {
    const texts = (await peer.stored('lobby')).filter(({ data }) => data.text === wanted).map(({ data }) => data.name);
    return texts.length >= 3 ? texts.sort() : undefined;
  };
  const kinds = ['DedicatedWorker', 'ServiceWorker', 'SharedWorker'];
  const why = () => errors.join('\n');
  assert.deepEqual(await until('all workers are here', SOON_MS, () => said('here'), why), kinds);
  await peer.say('lobby', 'hello');
  assert.deepEqual(await until('all workers answer', SOON_MS, () => said('HELLO in durable'), why), kinds);
});

test('a page of an origin that is not configured reads why it is refused, and the log names the origin once', async (t) => {
  const gateway = await Gateway.start(t);
  const site = await Site.start(t, () => `<!doctype html><title>another site</title><script type="module">
import { connect } from '${gateway.url}/seawall-client.js';
const client = connect('ws://127.0.0.1:${gateway.port}/ws');
client.state.subscribe((state) => { if (state.phase === 'closed') document.title = state.because.code + ' ' + state.because.message; });
</script>`);
  const page = await (await person(t)).newPage();
  await page.goto(site.url);
  const title = await until('the page knows', SOON_MS, async () => /^\d+ /.test(await page.title()) && page.title(), () => gateway.log);
  assert.equal(title, `4506 ${site.url} is not in server.origins`);
  await page.reload();
  await until('the second page knows', SOON_MS, async () => /^4506/.test(await page.title()));
  await until('the line', SOON_MS, () => gateway.log.includes('origin refused'), () => gateway.log);
  assert.equal(gateway.log.split('origin refused').length, 2, gateway.log);
});
