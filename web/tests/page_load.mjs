// Measures the page against its bars, in Chromium and with the gateway at $SEAWALL_BINARY (default: target/debug/seawall):
//
//   node tests/page_load.mjs [MESSAGES [PER_SECOND]]      default: 10000 100
//
// Not a test, because it takes minutes and times depend on the machine. It prints the bytes on the wire, the time from the request of the page until it is online,
// and while messages arrive: the rows in the document, the longest task of the main thread and the time of a key press.

import { close, open, person } from './browser/support/browser.mjs';
import { Gateway } from './browser/support/gateway.mjs';
import { Peer } from './browser/support/peer.mjs';

const [messages = 10_000, perSecond = 100] = process.argv.slice(2).map(Number);
const ends = [];
const t = { after: (end) => ends.unshift(end) };

/** Runs in the page: watches tasks over 50 ms, and how long a key press takes until its frame is drawn. */
function watch() {
  window.longest = 0;
  new PerformanceObserver((list) => { for (const { duration } of list.getEntries()) window.longest = Math.max(window.longest, duration); }).observe({ type: 'longtask' });
  window.keys = [];
  addEventListener('keydown', () => { window.pressed = performance.now(); }, true);
  // The work of the page for the key is done when its event is over and microtasks have run.
  addEventListener('input', () => { setTimeout(() => window.keys.push(performance.now() - window.pressed)); }, true);
}

await open();
try {
  const gateway = await Gateway.start(t, { env: { SEAWALL_LIMITS_PUBLISHES_PER_S: '0', SEAWALL_LIMITS_COMMANDS_PER_S: '0' } });
  const context = await person(t);
  const page = await context.newPage();
  /** Bytes of a first view, and of the files named `later`, which follow it. */
  const wire = { first: 0, later: 0 };
  const requests = new Map();
  const session = await context.newCDPSession(page);
  await session.send('Network.enable');
  session.on('Network.requestWillBeSent', ({ requestId, request }) => requests.set(requestId, request.url));
  session.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => { wire[/\/later-/.test(requests.get(requestId)) ? 'later' : 'first'] += encodedDataLength; });
  const online = () => page.waitForFunction(() => document.getElementById('state')?.dataset.state === 'online', undefined, { polling: 'raf' });
  const loads = [];
  for (let count = 0; count < 5; count += 1) {
    await session.send('Network.clearBrowserCache');
    Object.assign(wire, { first: 0, later: 0 });
    await page.goto(gateway.url);
    await online();
    loads.push(await page.evaluate(() => performance.now()));
  }
  loads.sort((one, other) => one - other);
  await page.waitForLoadState('networkidle');
  console.log(`on the wire, with heads: ${wire.first} bytes until it is online, then ${wire.later}; cold load to online: ${loads.map((ms) => ms.toFixed(0)).join(', ')} ms`);
  await page.evaluate(watch);
  const peer = await Peer.connect(t, gateway);
  const started = performance.now();
  let most = 0;
  // Neither an acknowledgement nor a key press delays the next message.
  const waiting = [];
  for (let sent = 0; sent < messages; sent += 1) {
    const due = started + (sent * 1000) / perSecond;
    if (due > performance.now()) await new Promise((next) => setTimeout(next, due - performance.now()));
    waiting.push(peer.say('lobby', `message ${sent} ${'word '.repeat(sent % 20)}`));
    if (sent % 50 === 0) {
      waiting.push(page.locator('#draft').press('a'));
      waiting.push(page.locator('#log .sw-row').count().then((count) => { most = Math.max(most, count); }));
    }
  }
  await Promise.all(waiting);
  const { longest, keys } = await page.evaluate(() => ({ longest: window.longest, keys: window.keys.sort((one, other) => one - other) }));
  console.log(`${messages} messages in ${((performance.now() - started) / 1000).toFixed(0)} s: at most ${most} rows, longest task ${longest} ms (0: none over 50 ms), `
    + `a key press ${keys[keys.length >> 1].toFixed(1)} ms in the median, ${keys[Math.floor(keys.length * 0.95)].toFixed(1)} ms at the 95th percentile`);
} finally {
  for (const end of ends) await end();
  await close();
}
