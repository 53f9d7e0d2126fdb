// A dependency of the gateway fails and recovers: the page shows what users lost, and when it is back.

import http from 'node:http';
import { after, before, test } from 'node:test';
import { close, open, person, Tab } from './support/browser.mjs';
import { Gateway } from './support/gateway.mjs';

before(open);
after(close);

/** A service that the gateway probes. It answers 503 while it is down. */
class Service {
  isUp = true;

  static async start(t) {
    const service = new Service();
    const server = http.createServer((_, answer) => {
      answer.statusCode = service.isUp ? 200 : 503;
      answer.end();
    });
    await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
    service.url = `http://127.0.0.1:${server.address().port}/`;
    t.after(() => new Promise((closed) => {
      server.close(closed);
      server.closeAllConnections();
    }));
    return service;
  }
}

const toml = (service, criticality, sentence) => `
[[dependency]]
name = "backend"
kind = "http"
url = "${service.url}"
criticality = "${criticality}"
lost = ["replies"]
${sentence === undefined ? '' : `sentence = "${sentence}"`}
`;

const banner = (tab) => async () => {
  const node = tab.page.locator('#banner');
  return (await node.isVisible()) ? node.innerText() : '';
};

test('the banner shows the operator\'s sentence while an optional dependency is down', async (t) => {
  const service = await Service.start(t);
  const gateway = await Gateway.start(t, { toml: toml(service, 'optional', 'Assistant replies are paused.') });
  const tab = await Tab.open(t, await person(t), gateway);
  await tab.say('before');
  await tab.reads(['before']);
  service.isUp = false;
  await tab.sees('the sentence, and since when', banner(tab), (text) => /Assistant replies are paused\.\s*Since/.test(text), 30_000);
  await tab.sees('what works', () => tab.page.locator('#works').innerText(), (text) => /✓\s*Sending messages[^]*✗\s*Assistant replies/.test(text));
  await tab.state(/online/);
  await tab.say('meanwhile');
  await tab.reads(['before', 'meanwhile']);
  await tab.picture('degraded');
  // It is said for 4 s, which a slow machine may miss.
  await tab.page.evaluate(() => {
    const node = document.getElementById('banner');
    new MutationObserver(() => { window.said += node.innerText; }).observe(node, { childList: true, characterData: true, subtree: true });
    window.said = '';
  });
  service.isUp = true;
  await tab.sees('the end', () => tab.page.evaluate(() => window.said), (text) => text.includes('Everything works again.'), 30_000);
  await tab.sees('no sentence', banner(tab), (text) => text === '', 30_000);
  await tab.sees('no list of what works', () => tab.page.locator('#works').count(), (count) => count === 0);
  await tab.reads(['before', 'meanwhile']);
});

test('while a critical dependency is down, open tabs stay connected and new ones wait until it is back', async (t) => {
  const service = await Service.start(t);
  const gateway = await Gateway.start(t, { toml: toml(service, 'critical') });
  const stays = await Tab.open(t, await person(t), gateway);
  await stays.say('before');
  await stays.reads(['before']);
  service.isUp = false;
  await stays.sees('the banner', banner(stays), (text) => /not available/.test(text), 30_000);
  await stays.state(/online/);
  const comes = await Tab.open(t, await person(t), gateway);
  await comes.state(/reconnecting: backend is unavailable.*reference/s);
  const card = /The service behind this chat is not available at the moment\.[^]*Since[^]*sent when the chat is back\.[^]*Next try in \d+ s[^]*Connect now[^]*Reference: \w+/;
  await comes.sees('the card', () => comes.page.locator('#outage').innerText(), (text) => card.test(text));
  await comes.picture('newcomer');
  await comes.say('from outside');
  await comes.line('from outside', (line) => line.state === 'waiting');
  await comes.picture('refused-connection');
  service.isUp = true;
  await comes.state(/online/, 40_000);
  await comes.reads(['before', 'from outside']);
  await stays.sees('no banner', banner(stays), (text) => text === '', 30_000);
  await stays.reads(['before', 'from outside']);
});
